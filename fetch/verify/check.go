package verify

import (
	"context"
	"errors"
	"fmt"
	"io"

	"netstage/stage1/fault"
)

// Check verifies an image that is at hand: by its digest unless sha256 is nil,
// and by v unless that is nil. A wrong one is an error of class mismatch about
// name. The digest is computed only when sha256 is given.
func Check(ctx context.Context, name string, image io.Reader, sha256 []byte, v Verifier) error {
	var vs All
	if v != nil {
		vs = append(vs, v)
	}
	if sha256 != nil {
		vs = append(vs, NewDigest(sha256))
	}
	buf := make([]byte, 1<<20)
	for kept := 0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, rerr := io.ReadFull(image, buf[kept:])
		n += kept
		good, err := vs.Write(buf[:n])
		ended := errors.Is(rerr, io.EOF) || errors.Is(rerr, io.ErrUnexpectedEOF)
		if err == nil && ended && good == n {
			err = vs.Close()
		}
		switch {
		case err != nil:
			return fault.Errorf(fault.Mismatch, "%s: %w", name, err)
		case ended && good < n:
			return fault.Errorf(fault.Mismatch, "%s: its last %d bytes are no whole block", name, n-good)
		case ended:
			return nil
		case rerr != nil:
			return fmt.Errorf("verify %s: %w", name, rerr)
		}
		kept = copy(buf, buf[good:n])
	}
}
