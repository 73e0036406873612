// Package uevent hears what the kernel tells about devices.
package uevent

import "strings"

// An Event is what the kernel tells about a device (lib/kobject_uevent.c).
type Event struct {
	Action    string // add, remove, change, bind, unbind, move, online, offline; Lost
	Devpath   string // below sysfs, beginning with /devices, /module, …
	Subsystem string
	Env       map[string]string // all of its KEY=VALUE, MODALIAS for one
}

// Lost is the action of the made-up event that says that events were lost,
// because they came faster than they were read: look at sysfs again.
const Lost = "lost"

// Parse reads one message of the kernel: "ACTION@DEVPATH", then
// KEY=VALUE, each ended by NUL. Messages of udev and cut ones are not taken.
func Parse(message []byte) (Event, bool) {
	head, rest, ok := strings.Cut(string(message), "\x00")
	if !ok {
		return Event{}, false
	}
	action, path, ok := strings.Cut(head, "@")
	if !ok || action == "" || !strings.HasPrefix(path, "/") {
		return Event{}, false
	}
	e := Event{Action: action, Devpath: path, Env: map[string]string{}}
	for rest != "" {
		var item string
		item, rest, _ = strings.Cut(rest, "\x00")
		if key, value, ok := strings.Cut(item, "="); ok && key != "" {
			e.Env[key] = value
		}
	}
	e.Subsystem = e.Env["SUBSYSTEM"]
	return e, true
}
