package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stalled mounts a file system that answers nobody, as a disk that died: no
// signal ends what asks it (FUSE without an answer).
func stalled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	if err := unix.Mount("stalled", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		unix.Close(fd)
		t.Skip(err)
	}
	t.Cleanup(func() {
		unix.Close(fd) // ends what waits
		unix.Unmount(dir, unix.MNT_DETACH)
	})
	return dir
}

// A mount whose source does not answer ends with its context, and leaves
// nothing behind once the source answers.
func TestMountThatHangs(t *testing.T) {
	dir, root := stalled(t), t.TempDir()
	sick := filepath.Join(root, "sick")
	if err := os.Mkdir(sick, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(dir, sick, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(sick, unix.MNT_DETACH) })
	e := Entry{Device: "/sick/file", Target: "/data", Type: "none", Options: []string{"bind"}}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errors.New("it does not answer"))
	defer cancel()
	began := time.Now()
	err := e.Do(ctx, root, "")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if err == nil || !errors.Is(err, context.Cause(ctx)) {
		t.Errorf("got %v", err)
	}
}
