package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"netstage/debug/console"
	"netstage/fetch"
	"netstage/stage1/config"
	"netstage/stage1/password"
)

// admit tells whether whoever is at the console may have a shell, and asks for
// the password of the initrd's policy where there is one. It asks no longer
// than the failure menu would wait before it reboots, so that a machine that
// nobody sits at goes on to that menu.
func (o operator) admit(ctx context.Context, c config.Config) bool {
	if c.Policy.NoShell {
		return false
	}
	if c.Policy.Password == nil {
		return true
	}
	path := consolePath(c.Console)
	tty, err := console.Open(path)
	if err != nil {
		o.log.Error("no shell: the password can't be asked for", "err", err)
		return false
	}
	defer tty.Close()
	limit := c.FailTimeout
	if limit == 0 {
		limit = time.Minute
	}
	o.password.Check = checkOf(*c.Policy.Password)
	return o.password.Ask(ctx, tty, limit)
}

// checkOf compares with a hash, where the machine has the memory that takes.
func checkOf(hash password.Hash) func([]byte) (bool, error) {
	return func(text []byte) (bool, error) {
		const spare = 16 << 20
		if available, err := fetch.SystemMemAvailable(); err == nil && available < hash.Memory()+spare {
			return false, fmt.Errorf("to check the password takes %d MiB, and %d MiB are available", hash.Memory()>>20, available>>20)
		}
		defer debug.FreeOSMemory() // the system needs it more
		return hash.Matches(text), nil
	}
}
