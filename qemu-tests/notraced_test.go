//go:build !race

package qemutests

const raced = false
