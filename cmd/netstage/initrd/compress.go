package initrd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"

	"github.com/klauspost/compress/zstd"
)

// window is the zstd window. A larger one gains nothing on 16 MB of agent and
// modules, and the kernel takes that much memory while it unpacks.
const window = 8 << 20

// newCompressor wraps w. The default is the library's best level: on the
// initrds of Debian's cloud kernels (17 and 19 MB) it is 12.5 % larger than
// zstd -19 (5.3 to 4.7 MB), takes a sixth of the time, and needs no program
// whose version the bytes depend on. The kernel unpacks it faster, too: 17 MB
// in 218 million instructions of an emulated processor, to 262 for zstd -19,
// 266 for zstd -3 and 41 for an archive that is not compressed. One goroutine:
// the output then depends on the input alone, not on the number of processors.
func newCompressor(ctx context.Context, w io.Writer, kind string) (io.WriteCloser, error) {
	switch kind {
	case "", Zstd:
		return zstd.NewWriter(w,
			zstd.WithEncoderLevel(zstd.SpeedBestCompression),
			zstd.WithWindowSize(window),
			zstd.WithEncoderConcurrency(1))
	case ZstdSmall:
		return newFilter(ctx, w, "zstd", "-19", "-T1", "-q", "-c")
	case None:
		return plainCloser{w}, nil
	}
	return nil, fmt.Errorf("unknown compression %q: take %s, %s or %s", kind, Zstd, ZstdSmall, None)
}

type plainCloser struct{ io.Writer }

func (plainCloser) Close() error { return nil }

// filter is a program that reads what is written to it and writes to w.
type filter struct {
	io.WriteCloser
	cmd    *exec.Cmd
	stderr bytes.Buffer
}

func newFilter(ctx context.Context, w io.Writer, name string, args ...string) (*filter, error) {
	f := &filter{cmd: exec.CommandContext(ctx, name, args...)}
	f.cmd.Stdout, f.cmd.Stderr = w, &f.stderr
	in, err := f.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	f.WriteCloser = in
	if err := f.cmd.Start(); err != nil {
		return nil, fmt.Errorf("compress: %w: install %s or take the compression %q", err, name, Zstd)
	}
	return f, nil
}

// Close waits for the program's end.
func (f *filter) Close() error {
	closeErr := f.WriteCloser.Close()
	if err := f.cmd.Wait(); err != nil {
		return fmt.Errorf("compress: %s: %w: %s", f.cmd.Path, err, bytes.TrimSpace(f.stderr.Bytes()))
	}
	return closeErr
}
