package stage1

import "fmt"

// serveShells starts what boot.ssh asks for. It serves from now on: at breakpoints, while the image is fetched, and
// while the failure menu waits.
func (b *Boot) serveShells() error {
	if !b.config.SSH || b.stopSSH != nil {
		return nil
	}
	stop, err := b.SSH()
	if err != nil {
		return fmt.Errorf("boot.ssh: %w", err)
	}
	b.stopSSH = stop
	return nil
}

// stopShells ends the server and all that are logged in, and waits for that.
func (b *Boot) stopShells() {
	if b.stopSSH != nil {
		b.stopSSH()
		b.stopSSH = nil
	}
}
