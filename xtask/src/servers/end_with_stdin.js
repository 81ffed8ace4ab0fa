// Ends the process that loads this when its standard input ends.
process.stdin.on("end", () => process.exit(0)).resume();
