"""Notes to those who wrote to somebody that has moved: ``text`` composes one, ``service`` sends it, once."""
