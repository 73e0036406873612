// Package fault says what went wrong: the class of a failure with the advice
// for it, the error that carries a class, the failure of a step as an operator
// hears of it, and the choice that follows. Every room may import it.
package fault

import (
	"slices"
	"strconv"
	"strings"
)

// A Class is the stable name of a cause, for scripts and for advice. One cause
// has one class. Those of the answers of HTTP servers are made by HTTP, all
// others are constants with their advice beside them.
type Class string

// HTTP is the class of an answer with that status, such as http-404.
func HTTP(status int) Class { return Class("http-" + strconv.Itoa(status)) }

// HTTPStatus is the status that HTTP made the class of, or 0.
func (c Class) HTTPStatus() int {
	digits, made := strings.CutPrefix(string(c), "http-")
	status, err := strconv.Atoi(digits)
	if !made || err != nil {
		return 0
	}
	return status
}

// advice is what to do about a class.
type advice struct {
	class Class
	todo  []string
}

// tables have every class once. They are plain data that the linker lays out:
// a boot that does not fail pays nothing for them.
var tables = [...][]advice{network, image, machine}

// Classes are those with advice of their own.
func Classes() []Class {
	var all []Class
	for _, table := range tables {
		for _, a := range table {
			all = append(all, a.class)
		}
	}
	return all
}

// Known tells whether the class has advice of its own.
func (c Class) Known() bool { return c.own() != nil }

// Advice is what to do, the most likely remedy first. A class without advice
// of its own gets what always holds.
func (c Class) Advice() []string {
	if todo := c.own(); todo != nil {
		return slices.Clone(todo)
	}
	switch status := c.HTTPStatus(); {
	case status >= 400 && status < 500:
		return NotFound.Advice()
	case status != 0:
		return []string{
			"The server answered with an error of its own: read its error log first.",
			"Ask it yourself: curl -I URL from a machine in the same network.",
			"If a proxy or load balancer stands in front, ask what is behind it.",
		}
	}
	return []string{
		"Read the kernel log (d): the first error there is often the cause.",
		"Boot with boot.trace to see each action, or boot.break=STEP to stop before it.",
		"Note class, step and cause before rebooting.",
	}
}

func (c Class) own() []string {
	for _, table := range tables {
		for _, a := range table {
			if a.class == c {
				return a.todo
			}
		}
	}
	return nil
}
