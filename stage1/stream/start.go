package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netstage/fetch"
	"netstage/fetch/ref"
	"netstage/fetch/store"
	"netstage/fetch/stream"
	"netstage/mount"
	"netstage/mount/dm"
	"netstage/mount/loop"
	"netstage/mount/nbd"
	"netstage/netup/lease"
	"netstage/stage1/fault"
)

// Order says what to stream, and how.
type Order struct {
	Dir         string // where the tmpfs for the image goes
	Request     fetch.Request
	Proxy       string // that of the request
	CA          []byte // likewise, PEM
	Lease       lease.Lease
	ClientID    []byte // that it was given to
	Size        int64
	Block       int
	RootHash    []byte
	SHA256      []byte        // nil: not given
	Tree        *os.File      // the verity tree, checked; it stays the caller's
	Verity      *mount.Verity // dm-verity verifies what is read; its Tree is not used
	Hot         []stream.Span
	ReportToken string // for that server; empty: none
	ReportTo    string // where the boot's report is sent; empty: nowhere
	OnDemand    bool
	Seeded      bool  // the rest waits until Filled
	Keep        int64 // bytes of the image in memory at once, on demand; 0: all
	Timeout     time.Duration
	Log         *slog.Logger

	Artifacts []ref.Artifact // that the request's URLs are of, in registries
	Logins    []byte         // for those, as oci.ParseCredentials reads them
}

// failed says that an image could not be streamed.
func failed(op string, cause error) error {
	return fault.Errorf(fault.Stream, "stream: %s: %w", op, cause)
}

// Start makes the device and has the image brought.
func Start(o Order) (*Stream, error) {
	s := &Stream{store: o.Request.Store, nbd: -1, log: o.Log.With("what", "stream")}
	if err := s.start(o); err != nil {
		return nil, errors.Join(err, s.Abort())
	}
	return s, nil
}

func (s *Stream) later(f func() error) { s.undo = append(s.undo, f) }

func (s *Stream) start(o Order) error {
	if memory, ok := s.store.(*store.Tmpfs); ok {
		memory.Sparse = o.OnDemand
	}
	most := o.Size
	if o.Keep > 0 {
		most = o.Keep
	}
	image, err := fetch.Reserve(o.Request, o.Size, most)
	if err != nil {
		return err
	}
	s.later(s.store.Close)
	s.Image = image
	if err := image.Truncate(o.Size); err != nil {
		return failed("make room for the image", err)
	}
	whole, err := os.Open(filepath.Join(o.Dir, filepath.Base(image.Name())))
	if err != nil {
		return failed("open the image", err)
	}
	defer whole.Close()
	final, err := loop.Attach(whole, true)
	if err != nil {
		return failed("put the image behind a loop device", err)
	}
	defer final.Close()
	if s.shared, err = newShared(o.Size, int64(o.Block)); err != nil {
		return failed("share memory", err)
	}
	s.later(s.shared.file.Close)
	if o.Seeded {
		s.shared.set(wordSeeding, 1)
	}
	s.shared.set(wordStarted, monotonic())
	kernel, server, err := pair(unix.SOCK_STREAM)
	if err != nil {
		return failed("make a socket pair", err)
	}
	defer kernel.Close()
	defer server.Close()
	// The kernel asks nothing before it is served.
	index, err := nbd.Connect(int(kernel.Fd()), o.Size)
	if err != nil {
		return err
	}
	s.nbd = index
	table, last, err := s.tables(o, final)
	if err != nil {
		return failed("find the devices", err)
	}
	control, err := os.OpenFile(dm.Control, os.O_RDWR, 0)
	if err != nil {
		return failed("open the device mapper", err)
	}
	defer control.Close()
	if s.device, err = dm.Create(control, "netstage-image", "NETSTAGE-", table); err != nil {
		return failed("make the device", err)
	}
	var urls []string
	tokens := map[string]string{}
	for _, m := range o.Request.Mirrors {
		urls = append(urls, m.URL().String())
		if o.Request.Bearer != nil {
			tokens[originOf(m.URL())] = o.Request.Bearer(m.URL())
		}
	}
	cache := ""
	if o.Request.Cache.Kind == ref.URL {
		cache = o.Request.Cache.URL().String()
	}
	var artifacts []string
	for _, a := range o.Artifacts {
		artifacts = append(artifacts, a.String())
	}
	err = s.startHolder(o, spec{
		Artifacts: artifacts, Logins: o.Logins,
		Size: o.Size, BlockSize: int64(o.Block), RootHash: o.RootHash, SHA256: o.SHA256,
		URLs: urls, Cache: cache, Tokens: tokens, UserAgent: o.Request.UserAgent, LowSpeed: o.Request.LowSpeed, Seed: o.Request.Seed, Proxy: o.Proxy, CA: o.CA,
		Lease: o.Lease, LeaseAge: time.Since(o.Lease.Acquired), ClientID: o.ClientID, OnDemand: o.OnDemand, Keep: o.Keep, Timeout: o.Timeout, ReportTo: o.ReportTo, ReportToken: o.ReportToken, Hot: o.Hot, NBD: s.nbd, Device: s.device, Final: last,
	}, server, image, o.Tree, final)
	if err != nil {
		return failed("start the process that serves it", err)
	}
	if s.Device, err = os.Open(s.device.Path); err != nil {
		return failed("open the device", err)
	}
	s.later(s.Device.Close)
	return nil
}

// tables are what is read through now and in the end.
func (s *Stream) tables(o Order, final *os.File) (now, last dm.Table, err error) {
	var stat unix.Stat_t
	name := fmt.Sprintf("/dev/nbd%d", s.nbd)
	if err := unix.Stat(name, &stat); err != nil {
		return now, last, fmt.Errorf("%s: %w", name, err)
	}
	from := stat.Rdev
	if err := unix.Fstat(int(final.Fd()), &stat); err != nil {
		return now, last, err
	}
	to := stat.Rdev
	if o.Verity == nil {
		return dm.Linear(from, o.Size), dm.Linear(to, o.Size), nil
	}
	tree, err := loop.Attach(o.Tree, true)
	if err != nil {
		return now, last, err
	}
	s.later(tree.Close)
	if err := unix.Fstat(int(tree.Fd()), &stat); err != nil {
		return now, last, err
	}
	return o.Verity.Table(from, stat.Rdev), o.Verity.Table(to, stat.Rdev), nil
}

func pair(kind int) (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

func (s *Stream) startHolder(o Order, what spec, server, image, tree, final *os.File) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate("spec", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	told := os.NewFile(uintptr(fd), "spec")
	defer told.Close()
	if _, err := told.Write(text); err != nil {
		return err
	}
	line, theirs, err := pair(unix.SOCK_SEQPACKET)
	if err != nil {
		return err
	}
	defer theirs.Close()
	s.line = line
	s.holder = &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{Name, roleHold}, Env: environment,
		ExtraFiles:  []*os.File{told, server, image, s.shared.file, theirs, tree, final},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Unshareflags: unix.CLONE_NEWNS},
	}
	if err := s.holder.Start(); err != nil {
		s.holder = nil
		return err
	}
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.holder.Wait() }()
	return nil
}
