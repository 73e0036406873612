//go:build !race

package namespaced

const raced = false
