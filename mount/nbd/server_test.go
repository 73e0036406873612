package nbd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// image is data that comes piece by piece, in blocks of 4096 bytes.
type image struct {
	mu    sync.Mutex
	bytes []byte
	there map[int64]bool
}

func newImage(blocks int) *image {
	i := &image{bytes: make([]byte, blocks*4096), there: map[int64]bool{}}
	_, _ = rand.NewChaCha8([32]byte{3}).Read(i.bytes)
	return i
}

func (i *image) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(i.bytes).ReadAt(p, off)
}

func (i *image) Has(off, n int64) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for b := off / 4096; b*4096 < off+n; b++ {
		if !i.there[b] {
			return false
		}
	}
	return true
}

func (i *image) bring(blocks ...int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, b := range blocks {
		i.there[b] = true
	}
}

// kernel is the other end of the socket.
type kernel struct {
	t    *testing.T
	file *os.File
}

func pair(t *testing.T) (server int, k kernel) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	k = kernel{t, os.NewFile(uintptr(fds[1]), "kernel")}
	t.Cleanup(func() { unix.Close(fds[0]); k.file.Close() })
	return fds[0], k
}

func header(command uint16, cookie uint64, offset, length int64) []byte {
	b := binary.BigEndian.AppendUint32(nil, requestMagic)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, command)
	b = binary.BigEndian.AppendUint64(b, cookie)
	b = binary.BigEndian.AppendUint64(b, uint64(offset))
	return binary.BigEndian.AppendUint32(b, uint32(length))
}

func (k kernel) ask(command uint16, cookie uint64, offset, length int64) {
	k.t.Helper()
	if _, err := k.file.Write(header(command, cookie, offset, length)); err != nil {
		k.t.Fatal(err)
	}
}

// hear reads a reply, with n bytes where it is no error.
func (k kernel) hear(n int64) (errno uint32, cookie uint64, data []byte) {
	k.t.Helper()
	var head [replySize]byte
	if _, err := io.ReadFull(k.file, head[:]); err != nil {
		k.t.Fatal(err)
	}
	if magic := binary.BigEndian.Uint32(head[:]); magic != replyMagic {
		k.t.Fatalf("reply begins with %x", magic)
	}
	if errno = binary.BigEndian.Uint32(head[4:]); errno == 0 {
		data = make([]byte, n)
		if _, err := io.ReadFull(k.file, data); err != nil {
			k.t.Fatal(err)
		}
	}
	return errno, binary.BigEndian.Uint64(head[8:]), data
}

func next(t *testing.T, s *Server) *Wait {
	t.Helper()
	w, err := s.Next(time.Unix(100, 0))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestReadsOfWhatIsThereAreAnsweredAtOnce(t *testing.T) {
	data := newImage(300)
	for b := range int64(300) {
		data.bring(b)
	}
	fd, k := pair(t)
	s := NewServer(fd, int64(len(data.bytes)), data)
	for i, c := range []struct{ offset, length int64 }{{0, 512}, {4096, 4096}, {512, 130 << 10}, {0, 300 * 4096}, {299*4096 + 3584, 512}} {
		k.ask(Read, uint64(i), c.offset, c.length)
		done := make(chan error, 1)
		go func() {
			w, err := s.Next(time.Now())
			if w != nil {
				err = errors.New("it waits")
			}
			done <- err
		}()
		errno, cookie, got := k.hear(c.length)
		if err := <-done; err != nil || errno != 0 || cookie != uint64(i) || !bytes.Equal(got, data.bytes[c.offset:c.offset+c.length]) {
			t.Errorf("%+v: %v, errno %d, cookie %d", c, err, errno, cookie)
		}
	}
}

func TestRequestsThatMakeNoSenseAreRefused(t *testing.T) {
	data := newImage(10)
	fd, k := pair(t)
	s := NewServer(fd, 10*4096, data)
	for i, c := range []struct {
		command        uint16
		offset, length int64
		errno          uint32
	}{
		{Read, 10 * 4096, 512, errInvalid}, {Read, 9 * 4096, 8192, errInvalid}, {Read, 0, 11 * 4096, errInvalid},
		{Read, -1, 512, errInvalid}, {Read, 1 << 62, 4096, errInvalid}, {Read, 0, 0, errInvalid},
		{Flush, 0, 0, errInvalid}, {Trim, 0, 4096, errInvalid}, {77, 0, 4096, errInvalid},
		{Write, 0, 4096, errPermission},
	} {
		k.ask(c.command, uint64(i), c.offset, c.length)
		if c.command == Write {
			if _, err := k.file.Write(make([]byte, c.length)); err != nil {
				t.Fatal(err)
			}
		}
		if w := next(t, s); w != nil {
			t.Errorf("%+v waits", c)
		}
		if errno, cookie, _ := k.hear(0); errno != c.errno || cookie != uint64(i) {
			t.Errorf("%+v: errno %d, cookie %d", c, errno, cookie)
		}
	}
}

func TestReadsWaitForTheirBlocksAndAreAnsweredOutOfOrder(t *testing.T) {
	data := newImage(100)
	fd, k := pair(t)
	s := NewServer(fd, 100*4096, data)
	for b := range int64(100) {
		k.ask(Read, uint64(b), b*4096, 4096)
		if w := next(t, s); w == nil || w.Cookie != uint64(b) {
			t.Fatalf("block %d does not wait: %v", b, w)
		}
	}
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(100) {
		data.bring(int64(i))
		settled := 0
		if err := s.Settle(time.Unix(101, 0), 0, func(w *Wait, _ bool) { settled++ }); err != nil || settled != 1 {
			t.Fatalf("%d settled, %v", settled, err)
		}
		errno, cookie, got := k.hear(4096)
		if errno != 0 || cookie != uint64(i) || !bytes.Equal(got, data.bytes[i*4096:(i+1)*4096]) {
			t.Errorf("block %d: errno %d, cookie %d", i, errno, cookie)
		}
	}
	if len(s.Waiting()) != 0 {
		t.Errorf("%v still wait", s.Waiting())
	}
}

func TestAWaitIsAnIOErrorOnlyAfterItsLimit(t *testing.T) {
	fd, k := pair(t)
	s := NewServer(fd, 4096, newImage(1))
	k.ask(Read, 1, 0, 4096)
	next(t, s)
	settle := func(after, limit time.Duration) int {
		n := 0
		if err := s.Settle(time.Unix(100, 0).Add(after), limit, func(*Wait, bool) { n++ }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := settle(time.Hour, 0); n != 0 {
		t.Error("without a limit it ended after an hour")
	}
	if n := settle(10*time.Second, 10*time.Second); n != 0 {
		t.Error("it ended too early")
	}
	if n := settle(11*time.Second, 10*time.Second); n != 1 {
		t.Error("it did not end")
	}
	if errno, _, _ := k.hear(0); errno != errIO {
		t.Errorf("errno %d", errno)
	}
}

// More than a kernel asks for at once is refused, and costs nothing else.
func TestTooManyWaits(t *testing.T) {
	data := newImage(1)
	fd, k := pair(t)
	s := NewServer(fd, 4096, data)
	for i := range mostWaiting {
		k.ask(Read, uint64(i), 0, 512)
		next(t, s)
	}
	k.ask(Read, 999, 0, 512)
	next(t, s)
	if errno, cookie, _ := k.hear(0); errno != errMemory || cookie != 999 {
		t.Errorf("errno %d, cookie %d", errno, cookie)
	}
	data.bring(0)
	go func() { _ = s.Settle(time.Now(), 0, func(*Wait, bool) {}) }()
	for range mostWaiting {
		if errno, _, _ := k.hear(512); errno != 0 {
			t.Fatalf("errno %d", errno)
		}
	}
}

func TestEnds(t *testing.T) {
	fd, k := pair(t)
	s := NewServer(fd, 4096, newImage(1))
	k.ask(Disconnect, 0, 0, 0)
	if _, err := s.Next(time.Now()); !errors.Is(err, ErrEnd) {
		t.Errorf("after a goodbye: %v", err)
	}
	if _, err := k.file.Write(make([]byte, requestSize)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(time.Now()); err == nil || errors.Is(err, ErrEnd) {
		t.Errorf("after rubbish: %v", err)
	}
	k.file.Close()
	if _, err := s.Next(time.Now()); !errors.Is(err, ErrEnd) {
		t.Errorf("after the other end was closed: %v", err)
	}
}

func TestTheServerAllocatesNothing(t *testing.T) {
	data := newImage(64)
	for b := range int64(64) {
		data.bring(b)
	}
	fd, k := pair(t)
	s := NewServer(fd, 64*4096, flat{data.bytes})
	request, reply := header(Read, 1, 0, 64<<10), make([]byte, replySize+64<<10)
	now := time.Now()
	if n := testing.AllocsPerRun(50, func() {
		if _, err := k.file.Write(request); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Next(now); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(k.file, reply); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a request", n)
	}
}

type flat struct{ bytes []byte }

func (f flat) ReadAt(p []byte, off int64) (int, error) { return copy(p, f.bytes[off:]), nil }
func (flat) Has(int64, int64) bool                     { return true }

// FuzzServer sends anything: every request that is answered lies within the
// device, and what is no request ends it.
func FuzzServer(f *testing.F) {
	f.Add(header(Read, 1, 0, 4096))
	f.Add(append(header(Read, 1, 4096, 512), header(Disconnect, 0, 0, 0)...))
	f.Add(append(header(Write, 1, 0, 3), 1, 2, 3))
	f.Add(header(Read, 1, -4096, 1<<31))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 16<<10 {
			return
		}
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		other := os.NewFile(uintptr(fds[1]), "kernel")
		heard := make(chan []byte)
		go func() { all, _ := io.ReadAll(other); heard <- all }()
		data := newImage(2)
		data.bring(0)
		s := NewServer(fds[0], 8192, data)
		if _, err := other.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := unix.Shutdown(fds[1], unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = s.Next(time.Unix(100, 0))
		}
		if err := s.Settle(time.Unix(200, 0), time.Second, func(*Wait, bool) {}); err != nil {
			t.Fatal(err)
		}
		unix.Close(fds[0])
		all := <-heard
		other.Close()
		if want := repliesTo(text); len(all) != want {
			t.Errorf("%d bytes of replies to %x, want %d", len(all), text, want)
		}
	})
}

// repliesTo is how many bytes the answers to text have, from a device of 8192
// bytes whose first 4096 are there.
func repliesTo(text []byte) (n int) {
	for len(text) >= requestSize {
		r, err := ParseRequest(text[:requestSize])
		if text = text[requestSize:]; err != nil || r.Command == Disconnect {
			return n
		}
		if r.Command == Write {
			if int64(len(text)) < r.Length {
				return n
			}
			text = text[r.Length:]
		}
		n += replySize
		if r.Command == Read && r.Offset >= 0 && r.Offset < 4096 && r.Length <= 4096-r.Offset {
			n += int(r.Length)
		}
	}
	return n
}
