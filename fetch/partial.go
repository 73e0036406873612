package fetch

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/verify"
	"netstage/stage1/fault"
)

// partial is what there is of an image: the bytes that were verified and
// written, and whose they are.
type partial struct {
	what     string
	log      *slog.Logger
	pinned   int64 // what somebody trusted says of the size; 0: nobody does
	vouched  bool  // something is given to verify the image against
	trusting bool  // wrong bytes will be found out, here or by the caller

	room   *room
	verify verify.Verifier
	sum    *verify.Digest // nil: not computed
	size   int64          // of the image; -1: not known
	offset int64          // verified and written so far; a retry resumes here

	from    *mirror.Mirror   // that sent the bytes so far
	version mirror.Validator // of those bytes
	mixed   bool             // they come from several mirrors, or from versions that nothing tells apart
	single  bool             // never mix again: it went wrong once
	over    string           // why it must start over; empty: it need not
}

func newPartial(req Request) (*partial, *mirror.Fault) {
	if req.SHA256 != nil && len(req.SHA256) != 32 {
		return nil, mirror.NewFault(mirror.Fatal, fault.Mismatch, nil, "the expected SHA-256 has %d bytes, not 32", len(req.SHA256))
	}
	i := &partial{what: req.What, log: req.Log, pinned: req.Size, vouched: req.vouched(), trusting: req.trusting(), room: newRoom(req)}
	if req.SHA256 != nil || req.Digest {
		i.sum = verify.NewDigest(req.SHA256)
	}
	switch {
	case req.Verify != nil && i.sum != nil:
		i.verify = verify.All{req.Verify, i.sum}
	case req.Verify != nil:
		i.verify = req.Verify
	case i.sum != nil:
		i.verify = i.sum
	default:
		i.verify = verify.Nothing{}
	}
	i.forget()
	return i, nil
}

// forget throws away what was received: the next byte is the image's first.
func (i *partial) forget() {
	i.verify.Reset()
	i.offset, i.from, i.version, i.mixed, i.over = 0, nil, mirror.Validator{}, false, ""
	i.size = -1
	if i.pinned > 0 {
		i.size = i.pinned
	}
}

// position is how far the download is: "352/1024 MiB".
func (i *partial) position() string {
	if i.size < 0 {
		return fmt.Sprintf("%d MiB", i.offset>>20)
	}
	return fmt.Sprintf("%d/%d MiB", i.offset>>20, mib(i.size))
}

// mustRestart tells whether the bytes in hand may not be continued by m.
func (i *partial) mustRestart(m *mirror.Mirror) (string, bool) {
	switch {
	case i.offset == 0 || i.from == m:
		return "", false
	case i.single:
		return "the image is taken from one mirror alone", true
	case !i.vouched && i.version.IfRange() == "":
		return "nothing tells whether it has the same image", true
	}
	return "", false
}

// next is the first byte to ask m for.
func (i *partial) next(m *mirror.Mirror) int64 {
	if m.NoRanges() {
		return 0
	}
	return i.offset
}

// demands is the version that m must continue; zero: whatever it has. Where
// something vouches for the image, that tells whether it is right, and no
// validator does: behind one name there may be several servers, each with its
// own validators for the same bytes. A mirror that is asked alone, after a
// mixture was wrong, must be consistent.
func (i *partial) demands(m *mirror.Mirror) mirror.Validator {
	switch {
	case !i.vouched:
		return i.version
	case i.single:
		return m.Version
	}
	return mirror.Validator{}
}

// expects is what an answer of m is checked against.
func (i *partial) expects(m *mirror.Mirror) mirror.Expect {
	return mirror.Expect{Offset: i.next(m), Version: i.demands(m), Size: i.size, Trusted: i.pinned > 0}
}

// write writes and verifies the next bytes, that m sent.
func (i *partial) write(m *mirror.Mirror, p []byte) error {
	if i.size >= 0 && i.offset+int64(len(p)) > i.size && i.mixed && !i.single {
		return i.retryFromOne(m, fmt.Errorf("more than the %d bytes of the image came", i.size))
	}
	if i.size >= 0 && i.offset+int64(len(p)) > i.size {
		return mirror.NewFault(mirror.ThisMirror, fault.Mismatch, nil, "%s: sends more than the %d bytes of the image", m.Name, i.size)
	}
	if err := i.room.grow(i.offset + int64(len(p))); err != nil {
		return err
	}
	// Written first, then hashed: measured a third cheaper than the other order
	// or both at once. Bytes that turn out wrong are on the store for a moment;
	// they are beyond offset, so they are written over, cut off, or dropped
	// with the store.
	if _, err := i.room.file.WriteAt(p, i.offset); err != nil {
		return mirror.StoreFault(err)
	}
	n, err := i.verify.Write(p)
	i.offset += int64(n)
	if err != nil {
		return i.mismatch(m, err)
	}
	return nil
}

// verifyStored verifies the next bytes, that a stream of m's put into the
// store.
func (i *partial) verifyStored(m *mirror.Mirror, sure bool, buf []byte) *mirror.Fault {
	if _, err := i.room.file.ReadAt(buf, i.offset); err != nil {
		return mirror.StoreFault(err)
	}
	i.mixed = i.mixed || i.from != m || !sure
	i.from = m
	n, err := i.verify.Write(buf)
	i.offset += int64(n)
	if err != nil {
		return i.mismatch(m, err)
	}
	return nil
}

// checkWhole asks the verifier about the whole image. Framed says that its end
// is told from a broken connection.
func (i *partial) checkWhole(m *mirror.Mirror, framed bool) *mirror.Fault {
	switch {
	case i.offset > 0:
	case framed:
		return mirror.NewFault(mirror.ThisMirror, fault.Short, nil, "%s: its image is empty", m.Name)
	default:
		return mirror.NewFault(mirror.Transient, fault.Short, io.ErrUnexpectedEOF, "%s: closed the connection before the first byte", m.Name)
	}
	err := i.verify.Close()
	switch {
	case err == nil:
		if !framed && i.size < 0 && !i.trusting {
			i.log.Warn(fmt.Sprintf("%s sent no length, and nothing vouches for these %d bytes being all", m.Name, i.offset), "mirror", m.Name)
		}
		return nil
	case !framed && i.size < 0 && m.Unverified(i.offset):
		// Cut off or wrong: the next answer tells, since it is asked for what
		// comes after.
		return mirror.NewFault(mirror.Transient, fault.Short, err, "%s: the body has no length and ended after %d bytes, which do not verify: %v", m.Name, i.offset, err)
	case i.mixed && !i.single:
		return i.retryFromOne(m, err)
	}
	i.over = err.Error()
	return i.mismatch(m, err)
}

// retryFromOne starts over after a mixture was wrong, from one mirror alone:
// that tells which is.
func (i *partial) retryFromOne(m *mirror.Mirror, err error) *mirror.Fault {
	i.single = true
	i.over = fmt.Sprintf("the parts received do not make up the image (%v)", err)
	return mirror.NewFault(mirror.Transient, fault.Mismatch, err, "%s: %v, after a resume; one mirror alone will tell which is wrong", m.Name, err)
}

// mismatch blames a mirror for wrong bytes. A verifier may know a better class.
func (i *partial) mismatch(m *mirror.Mirror, err error) *mirror.Fault {
	class := fault.Mismatch
	var own *fault.Error
	if errors.As(err, &own) {
		class = own.Class
	}
	return mirror.NewFault(mirror.ThisMirror, class, err, "%s serves a wrong %s: %v (%s)", m.Name, i.what, err, m.Location)
}
