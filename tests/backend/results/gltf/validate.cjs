// Prints the Khronos validator's report of one GLB file as JSON: node validate.cjs FILE
const { readFileSync } = require("node:fs");
const { validateBytes } = require("gltf-validator");

validateBytes(new Uint8Array(readFileSync(process.argv[2])), { maxIssues: 0 }).then(
  (report) => process.stdout.write(JSON.stringify(report)),
  (error) => {
    process.stderr.write(String(error));
    process.exitCode = 1;
  },
);
