package stream

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netstage/fetch/faulty"
	"netstage/fetch/stream"
	"netstage/fetch/verity"
)

// The test's binary is the program of the stream, too.
func TestMain(m *testing.M) {
	if os.Args[0] == Name {
		say := func(line string) { fmt.Fprintln(os.Stderr, line) }
		if os.Args[1] == roleHold {
			if os.Getenv(ownRootEnv) != "" {
				if err := leaveWithLibraries(); err != nil {
					say(err.Error())
					os.Exit(1)
				}
			}
			limit := silence
			if text := os.Getenv(silenceEnv); text != "" {
				limit, _ = time.ParseDuration(text)
			}
			os.Exit(hold(say, limit))
		}
		os.Exit(work(slog.New(slog.NewTextHandler(os.Stderr, nil)), say))
	}
	os.Exit(m.Run())
}

// silenceEnv has a holder be less patient with its worker.
const silenceEnv = "NETSTAGE_TEST_SILENCE"

const testBlock = 4096

// processes are a holder and its worker, and the kernel's end of the socket.
type processes struct {
	t      *testing.T
	image  []byte
	server *faulty.Server
	kernel *os.File
	line   *os.File
	holder *exec.Cmd
	shared *shared
	store  *os.File
}

// startProcesses starts them with a server in some mood.
func startProcesses(t *testing.T, blocks int, script ...faulty.Behaviour) *processes {
	t.Helper()
	p := newProcesses(t, blocks)
	server, err := faulty.Listen("127.0.0.1:0", p.image, script...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	p.server = server
	p.start(spec{URLs: []string{server.URL("image")}})
	return p
}

func newProcesses(t *testing.T, blocks int) *processes {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	p := &processes{t: t, image: make([]byte, blocks*testBlock)}
	_, _ = rand.NewChaCha8([32]byte{8}).Read(p.image)
	return p
}

// start starts them as Start does, without the devices, in name spaces of their
// own: a reboot there ends the holder and nothing else.
func (p *processes) start(what spec) {
	t := p.t
	t.Helper()
	file := func(name string, text []byte) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		if err == nil {
			_, err = f.Write(text)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	var tree bytes.Buffer
	root, err := verity.Build(bytes.NewReader(p.image), int64(len(p.image)), &tree, verity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	what.Size, what.BlockSize, what.RootHash, what.OnDemand = int64(len(p.image)), testBlock, root, true
	text, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	if p.shared, err = newShared(int64(len(p.image)), testBlock); err != nil {
		t.Fatal(err)
	}
	kernel, mine, err := pair(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	line, theirs, err := pair(unix.SOCK_SEQPACKET)
	if err != nil {
		t.Fatal(err)
	}
	p.kernel, p.line, p.store = kernel, line, file("image", nil)
	if err := p.store.Truncate(int64(len(p.image))); err != nil {
		t.Fatal(err)
	}
	p.holder = &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{Name, roleHold}, Env: p.environment(), Stderr: os.Stderr,
		ExtraFiles:  []*os.File{file("spec", text), mine, p.store, p.shared.file, theirs, file("tree", tree.Bytes()), file("loop", nil)},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Unshareflags: unix.CLONE_NEWNS, Cloneflags: unix.CLONE_NEWPID},
	}
	if err := p.holder.Start(); err != nil {
		t.Fatal(err)
	}
	mine.Close()
	theirs.Close()
	t.Cleanup(func() {
		p.holder.Process.Kill()
		p.holder.Wait()
		kernel.Close()
		line.Close()
	})
}

// environment is that of the processes, with what a test wants.
func (p *processes) environment() []string {
	env := slices.Clone(environment)
	for _, name := range []string{silenceEnv, ownRootEnv} {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func (p *processes) ask(cookie uint64, off, n int64) {
	p.t.Helper()
	b := binary.BigEndian.AppendUint32(nil, 0x25609513)
	b = binary.BigEndian.AppendUint32(b, 0) // a read
	b = binary.BigEndian.AppendUint64(b, cookie)
	b = binary.BigEndian.AppendUint64(b, uint64(off))
	if _, err := p.kernel.Write(binary.BigEndian.AppendUint32(b, uint32(n))); err != nil {
		p.t.Fatal(err)
	}
}

// hear expects the answer to a read.
func (p *processes) hear(cookie uint64, off, n int64) {
	p.t.Helper()
	p.kernel.SetReadDeadline(time.Now().Add(30 * time.Second))
	got := make([]byte, 16+n)
	if _, err := io.ReadFull(p.kernel, got); err != nil {
		p.t.Fatal(err)
	}
	if e := binary.BigEndian.Uint32(got[4:]); e != 0 || binary.BigEndian.Uint64(got[8:]) != cookie || !bytes.Equal(got[16:], p.image[off:off+n]) {
		p.t.Fatalf("the read of %d at %d: errno %d, cookie %d, or other bytes", n, off, e, binary.BigEndian.Uint64(got[8:]))
	}
}

// worker is its process here.
func (p *processes) worker() int {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.holder.Process.Pid))
		for _, name := range names {
			text, _ := os.ReadFile(name)
			var pid int
			if _, err := fmt.Sscan(string(text), &pid); err != nil {
				continue
			}
			if argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); string(argv) == Name+"\x00"+roleWork+"\x00" {
				return pid
			}
		}
	}
	p.t.Fatal("there is no worker")
	return 0
}

func TestReadsAreAnsweredByTwoProcesses(t *testing.T) {
	p := startProcesses(t, 2000)
	rng := rand.New(rand.NewPCG(1, 1))
	for cookie := range uint64(50) {
		off, n := rng.Int64N(1900)*testBlock, (1+rng.Int64N(40))*512
		p.ask(cookie, off, n)
		p.hear(cookie, off, n)
	}
	reads, hot := p.shared.get(wordReads), p.shared.hot()
	if reads != 50 || len(hot) == 0 {
		t.Errorf("%d reads are counted, %d ranges are hot", reads, len(hot))
	}
	if again, err := stream.ParseHot(stream.FormatHot(hot), int64(len(p.image))); err != nil || len(again) != len(hot) {
		t.Errorf("the hot list is read as %d ranges, %v", len(again), err)
	}
}

// waits has the holder asked for what the worker can't bring, and waits until
// it was tried.
func (p *processes) waits(cookie uint64, off, n int64) {
	p.t.Helper()
	p.ask(cookie, off, n)
	for end := time.Now().Add(20 * time.Second); p.shared.get(wordWaiting) == 0 || len(p.server.Log()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatal("the read does not wait")
		}
	}
}

// A read that waits lives through the death of the worker, and one that was
// stopped is as good as dead.
func TestTheWorkerMayDie(t *testing.T) {
	t.Setenv(silenceEnv, "5s")
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGSTOP} {
		t.Run(signal.String(), func(t *testing.T) {
			p := startProcesses(t, 500, faulty.Behaviour{Hang: true}) // the first request is never answered
			p.waits(1, 100*testBlock, 8192)
			if err := syscall.Kill(p.worker(), signal); err != nil {
				t.Fatal(err)
			}
			p.hear(1, 100*testBlock, 8192)
			if n := p.shared.get(wordRestarts); n != 1 {
				t.Errorf("%d restarts", n)
			}
		})
	}
}

// A boot that ends before the hand-over takes the stream along.
func TestTheBootEndsBefore(t *testing.T) {
	p := startProcesses(t, 100)
	p.ask(1, 0, 4096)
	p.hear(1, 0, 4096)
	worker := p.worker()
	p.line.Close()
	ended := make(chan error, 1)
	go func() { ended <- p.holder.Wait() }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the holder lives on")
	}
	for end := time.Now().Add(20 * time.Second); syscall.Kill(worker, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the worker lives on")
		}
	}
}
