// Ends the server when the process that started it is gone, however it went: the pipe at standard input closes then.
'use strict';

const fs = require('fs');

function end() {
  // Only whoever was killed left the working folder behind.
  if (process.env.MIGRATOR_SANDBOX_WORK) {
    fs.rmSync(process.env.MIGRATOR_SANDBOX_WORK, { recursive: true, force: true });
  }
  process.exit(0);
}

process.stdin.on('end', end);
process.stdin.on('error', end);
process.stdin.resume();
