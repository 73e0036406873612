package nixosinit

import (
	"errors"
	"syscall"
)

// readOnly tells whether an image can't be changed at all: its permissions are
// then what they are.
func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }
