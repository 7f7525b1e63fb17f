// Unpacks the browser of @sparticuz/chromium into the folder that is named, with the libraries it needs.
import { createReadStream, createWriteStream, writeFileSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import tar from "tar-fs";

const bin = "node_modules/@sparticuz/chromium/bin";
const [folder] = process.argv.slice(2);
const unpack = (name, sink) => pipeline(createReadStream(`${bin}/${name}.br`), createBrotliDecompress(), sink);
await unpack("chromium", createWriteStream(`${folder}/chromium`, { mode: 0o755 }));
for (const name of ["al2023", "fonts", "swiftshader"]) await unpack(`${name}.tar`, tar.extract(`${folder}/${name}`));
// The package's own names folders of another machine; without a single font Chromium gives up at the first word.
writeFileSync(
  `${folder}/fonts/fonts.conf`,
  `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
`,
);
