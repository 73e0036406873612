package stage1

import "fmt"

// serveShells starts what boot.ssh asks for. It serves from now on: at breakpoints, while the image is fetched, and
// while the failure menu waits.
func (b *Boot) serveShells() error {
	if !b.config.SSH || b.services.stopSSH != nil {
		return nil
	}
	stop, err := b.SSH()
	if err != nil {
		return fmt.Errorf("boot.ssh: %w", err)
	}
	b.services.stopSSH = stop
	return nil
}

// stopShells ends the server and all that are logged in, and waits for that.
func (b *Boot) stopShells() {
	if b.services.stopSSH != nil {
		b.services.stopSSH()
		b.services.stopSSH = nil
	}
}
