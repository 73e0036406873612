//go:build !ssh

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
)

// remote stands for the SSH server of boot.ssh, which the agent has only when it is built with the tag ssh: most
// machines need none, and it is 0.6 MB.
type remote struct{}

var errNoSSH = errors.New("this agent was built without ssh; netstage initrd --authorized-keys packs the one that has it")

func newRemote(*slog.Logger) *remote            { return &remote{} }
func (*remote) where() []string                 { return nil }
func (*remote) loggedIn() bool                  { return false }
func (*remote) start() (stop func(), err error) { return nil, errNoSSH }

func runSSHD() int {
	fmt.Fprintln(os.Stderr, "sshd:", errNoSSH)
	return 1
}
