// Verifies messages with npm's mailauth: node dkim_mailauth.mjs KEYS FILE...; prints one JSON list a line.
// KEYS is JSON: from the name of a record to its text.  mailauth is found as Node finds it from the current folder.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { dkimVerify } = createRequire(join(process.cwd(), "x"))("mailauth/lib/dkim/verify.js");
const [keys, ...files] = process.argv.slice(2);
const records = JSON.parse(readFileSync(keys, "utf-8"));
const resolver = async (name, type) => {
    if (type === "TXT" && records[name]) return [[records[name]]];
    throw Object.assign(new Error(`no ${type} of ${name}`), { code: "ENOTFOUND" });
};
for (const file of files) {
    const { results } = await dkimVerify(readFileSync(file), { resolver });
    console.log(JSON.stringify(results.map((result) => result.status.result)));
}
