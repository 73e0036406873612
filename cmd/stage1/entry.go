package main

// entry is the program's first instruction, by build.sh. The kernel makes
// environment variables of the parameters that it does not know, and the Go
// runtime reads some before any Go code runs: GOMEMLIMIT=x on the command line
// would end PID 1, and with it the machine.
func entry()

var _ = entry // the linker's flag -E refers to it
