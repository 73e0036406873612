package stage1

import "fmt"

// shells are those that boot.ssh asks for. They are served at breakpoints,
// while the image is fetched, and while the failure menu waits.
type shells struct {
	end func() // of the server and all that are logged in; nil: it does not run
}

// serve starts the server, unless it runs.
func (s *shells) serve(start func() (stop func(), err error)) error {
	if s.end != nil {
		return nil
	}
	stop, err := start()
	if err != nil {
		return fmt.Errorf("boot.ssh: %w", err)
	}
	s.end = stop
	return nil
}

// stop ends it, and waits for that.
func (s *shells) stop() {
	if s.end != nil {
		s.end()
		s.end = nil
	}
}
