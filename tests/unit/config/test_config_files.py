"""The files of a configuration: what is joined, and what is said of one that cannot be taken."""

from __future__ import annotations

import os

from config_cases import MINIMAL, Folder
from twisted.trial.unittest import SynchronousTestCase

from mta.config.files import MAX_FILE
from mta.config.load import ConfigurationError, load


class Including(SynchronousTestCase):
    """``include``: which files, in which order, and how they become one."""

    def setUp(self) -> None:
        self.folder = Folder(self)

    def including(self, *patterns: str) -> str:
        return f"include = [{', '.join(map(repr, patterns))}]\n" + MINIMAL

    def test_tables_merge(self) -> None:
        self.folder.write("conf.d/queue.toml", '[queue]\nexpire_after = "4d"\n')
        self.folder.write("conf.d/limits.toml", "[limits]\nrecipients = 7\n")
        found = self.folder.load(self.including("conf.d/*.toml") + "[limits]\nerrors = 9\n")
        self.assertEqual((found.limits.recipients, found.limits.errors), (7, 9))
        self.assertEqual(found.queue.expire_after, 4 * 86400)

    def test_sorted_by_name_and_each_once(self) -> None:
        for name in ("b", "a", "c"):
            self.folder.write(f"conf.d/{name}.toml")
        found = self.folder.load(self.including("conf.d/c.toml", "conf.d/*.toml"))
        self.assertEqual([os.path.basename(file) for file in found.files], ["mta.toml", "c.toml", "a.toml", "b.toml"])

    def test_listeners_of_several_files_add_up(self) -> None:
        self.folder.write("conf.d/more.toml", '[[listen]]\nname = "mx6"\nendpoint = "tcp6:2526"\n')
        found = self.folder.load(self.including("conf.d/*.toml"))
        self.assertEqual([listener.name for listener in found.listen], ["mx", "mx6"])

    def test_one_pattern_needs_no_brackets(self) -> None:
        self.folder.write("conf.d/limits.toml", "[limits]\nrecipients = 7\n")
        self.assertEqual(self.folder.load('include = "conf.d/*.toml"\n' + MINIMAL).limits.recipients, 7)

    def test_a_pattern_may_match_nothing_and_does_not_match_the_file_itself(self) -> None:
        found = self.folder.load(self.including("none/*.toml", "*.toml"))
        self.assertEqual(len(found.files), 1)

    def test_the_folder_may_have_letters_of_patterns(self) -> None:
        path = self.folder.write("odd[1]*/mta.toml", self.including("*.toml"))
        self.folder.write("odd[1]*/more.toml", "[limits]\nrecipients = 7\n")
        os.replace(path, self.folder.write("odd[1]*/main"))
        self.folder.path = os.path.join(self.folder.path, "odd[1]*")
        self.assertEqual(self.folder.load(self.including("more.*")).limits.recipients, 7)

    def test_a_path_begins_at_the_file_that_holds_it(self) -> None:
        self.folder.write("domains/b.toml", '[domains."b.example"]\nmailboxes = "file:users"\ndeliver = "local"\n')
        users = self.folder.write("domains/users", "ann\n")
        found = self.folder.load(self.including("domains/*.toml"))
        self.assertEqual(found.domains["b.example"].mailboxes, f"file:{users}")

    def test_a_key_twice_names_both_files(self) -> None:
        self.folder.write("conf.d/a.toml", 'hostname = "mx2.site.com"\n')
        self.folder.write("conf.d/b.toml", "[limits]\nrecipients = 7\n")
        self.folder.write("conf.d/c.toml", "[limits]\nrecipients = 8\n")
        self.assertEqual(
            self.folder.problems(self.including("conf.d/*.toml")),
            [
                "conf.d/a.toml: hostname: stands in mta.toml too; write it in one of them",
                "conf.d/c.toml: limits.recipients: stands in conf.d/b.toml too; write it in one of them",
            ],
        )

    def test_a_table_in_one_and_a_value_in_another(self) -> None:
        self.folder.write("a.toml", "queue = 5\n")
        said = "a.toml: queue: stands in mta.toml too; write it in one of them"
        self.assertEqual(self.folder.problems(self.including("a.toml") + "[queue]\n"), [said])

    def test_a_mistake_is_told_with_the_included_file(self) -> None:
        self.folder.write("a.toml", '[domains."b.example"]\ndeliver = "nowhere"\n[limits]\nrecipients = "x"\n')
        self.assertEqual(
            self.folder.problems(self.including("a.toml")),
            [
                'a.toml: limits.recipients: "x" is not a whole number; write a number without quotes, such as 100',
                'a.toml: domains."b.example".deliver: there is no [delivery.nowhere]; known are: internet, local',
            ],
        )

    def test_included_files_include_no_others(self) -> None:
        self.folder.write("a.toml", 'include = ["b.toml"]\n')
        said = "a.toml: include: an included file includes others; write it in mta.toml"
        self.assertEqual(self.folder.problems(self.including("a.toml")), [said])

    def test_a_named_file_that_is_missing(self) -> None:
        said = "a.toml: cannot be read: No such file or directory; correct the path or its permissions"
        self.assertEqual(self.folder.problems(self.including("a.toml")), [said])

    def test_what_is_no_text_is_told_once(self) -> None:
        self.assertEqual(
            self.folder.problems("include = [5]\n" + MINIMAL),
            ["mta.toml: include[0]: 5 is not text; write it in quotes"],
        )

    def test_it_cannot_be_set_from_outside(self) -> None:
        said = "--set: include: cannot be overridden; write it in the file"
        self.assertEqual(self.folder.problems(MINIMAL, "include=a.toml"), [said])


class Unreadable(SynchronousTestCase):
    """Files that hold no configuration; all of them are told, with the line."""

    def setUp(self) -> None:
        self.folder = Folder(self)

    def test_wrong_toml_in_two_files(self) -> None:
        self.folder.write("a.toml", "x =\n")
        self.folder.write("b.toml", "\n\n[limits\n")
        problems = self.folder.problems('include = ["a.toml", "b.toml"]\n' + MINIMAL)
        self.assertEqual([said.partition(",")[0] for said in problems], ["a.toml: line 1", "b.toml: line 3"])
        for said in problems:
            self.assertIn(": is not TOML: ", said)

    def test_the_main_file_alone_is_told(self) -> None:
        (said,) = self.folder.problems("hostname = = 1\n")
        self.assertTrue(said.startswith("mta.toml: line 1, column 12: is not TOML: "), said)

    def test_not_utf8(self) -> None:
        said = "mta.toml: line 2: is not UTF-8; save the file as UTF-8"
        self.assertEqual(self.folder.problems(b'format = 1\nhostname = "m\xfcnchen"\n'), [said])

    def test_nested_beyond_sense(self) -> None:
        said = "mta.toml: is nested too deeply; no option lies so deep"
        self.assertEqual(self.folder.problems("x = " + "[" * 5000 + "]" * 5000), [said])
        (deep,) = self.folder.problems("x = " + "[" * 50 + "]" * 50)
        self.assertTrue(deep.endswith("is nested too deeply; no option lies so deep"), deep)

    def test_a_number_of_thousands_of_digits(self) -> None:
        self.assertEqual(len(self.folder.problems("format = " + "1" * 5000 + "\n")), 1)

    def test_too_large(self) -> None:
        said = f"mta.toml: is larger than {MAX_FILE} octets; divide it, or name another"
        self.assertEqual(self.folder.problems("#" * (MAX_FILE + 1)), [said])

    def test_a_folder(self) -> None:
        os.mkdir(os.path.join(self.folder.path, "a.toml"))
        said = "a.toml: is no regular file; name another"
        self.assertEqual(self.folder.problems('include = ["a.toml"]\n' + MINIMAL), [said])


class Writable(SynchronousTestCase):
    """Who can write the configuration is the MTA: what anybody may write is refused."""

    def setUp(self) -> None:
        self.folder = Folder(self)

    def said(self, path: str) -> str:
        return f"{path}: anybody may write to it; run: chmod o-w {path}"

    def test_an_included_file(self) -> None:
        self.folder.write("a.toml", "", 0o666)
        self.assertEqual(self.folder.problems('include = ["a.toml"]\n' + MINIMAL), [self.said("a.toml")])

    def test_the_file_itself(self) -> None:
        path = self.folder.write("mta.toml", MINIMAL, 0o646)
        error = self.assertRaises(ConfigurationError, load, path)
        self.assertEqual(str(error), self.said(path))

    def test_a_folder_whose_files_are_all_taken(self) -> None:
        self.folder.write("conf.d/a.toml")
        where = os.path.join(self.folder.path, "conf.d")
        os.chmod(where, 0o1777)  # the sticky bit does not keep strangers from adding files
        said = "mta.toml: include[0]: folder conf.d: anybody may write to it; run: chmod o-w conf.d"
        self.assertEqual(self.folder.problems('include = ["conf.d/*"]\n' + MINIMAL), [said])

    def test_a_file_in_a_folder_where_it_can_be_replaced(self) -> None:
        self.folder.write("open/a.toml")
        where = os.path.join(self.folder.path, "open")
        os.chmod(where, 0o777)
        said = f"open/a.toml: anybody may write to its folder {where}; run: chmod o-w {where}"
        text = 'include = ["open/a.toml"]\n' + MINIMAL
        self.assertEqual(self.folder.problems(text), [said.replace(f"{self.folder.path}/", "")])
        os.chmod(where, 0o1777)  # as /tmp: nobody else can replace a file of ours
        self.assertEqual(self.folder.problems(text), [])

    def test_a_table(self) -> None:
        self.folder.write("users", "postmaster\n", 0o666)
        said = 'mta.toml: domains."site.com".mailboxes: users: anybody may write to it; run: chmod o-w users'
        text = MINIMAL.replace('deliver = "local"', 'deliver = "local"\nmailboxes = "file:users"')
        self.assertEqual(self.folder.problems(text), [said])
