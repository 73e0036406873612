//go:build race

package qemutests

// raced says that agents are built to tell of data races, as these tests are.
const raced = true
