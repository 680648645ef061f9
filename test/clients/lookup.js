// Prints what http://NAME:PORT/ answers: by the C library's resolver, or, with "c-ares" behind, by Node's other one.
const dns = require("node:dns");
const http = require("node:http");
const [name, port, resolver] = process.argv.slice(2);

const options = { host: name, port: Number(port) };
if (resolver === "c-ares")
  options.lookup = (host, _, done) =>
    dns.resolve6(host, (error, addresses) => done(error, (addresses ?? []).map((address) => ({ address, family: 6 }))));
if (resolver === "c-ares") options.all = true;
http
  .get(options, (response) => response.pipe(process.stdout))
  .on("error", (error) => {
    console.error(error.message);
    process.exit(1);
  });
