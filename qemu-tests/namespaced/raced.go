//go:build race

package namespaced

// raced: the test program wants libraries, which its own root has not.
const raced = true
