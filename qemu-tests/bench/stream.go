package bench

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/netboot"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// packStreamed makes an image of about size random bytes and a stage 2, with
// its tree.
func packStreamed(ctx context.Context, file string, size int64, script string) error {
	return pack(ctx, file, size, func(dir string) error {
		files, err := system.Store(system.Files{"init": system.Script(tellFunctions + script + system.PowerOff), "nixos-version": "25.05"})
		if err != nil {
			return err
		}
		for _, applet := range []string{"awk", "dd", "sync"} {
			files[strings.TrimPrefix(system.Busybox, "/nix/store")+"/bin/"+applet] = "->busybox"
		}
		return files.Write(dir)
	})
}

// packDebian makes an image of a Debian system and size random bytes.
func packDebian(ctx context.Context, root, file string, size int64) error {
	return pack(ctx, file, size, func(dir string) error {
		if err := system.WriteDebian(root, dir, "squashfs"); err != nil {
			return err
		}
		trees, err := filepath.Glob(dir + "/*-debian")
		if err != nil || len(trees) != 1 {
			return fmt.Errorf("the Debian in %s: %v, %v", dir, trees, err)
		}
		for name, text := range map[string]string{
			"etc/systemd/system/tell.service": system.TellUnit,
			"etc/tell":                        tellFunctions + tellDebian + "systemctl poweroff\n",
		} {
			os.Remove(filepath.Join(trees[0], name)) // it may be a link to another tree's
			if err := os.WriteFile(filepath.Join(trees[0], name), []byte(text), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}

// pack makes an image of what fill writes and size random bytes. Those are
// stored as they are: nothing is compressed for nothing.
func pack(ctx context.Context, file string, size int64, fill func(dir string) error) error {
	dir, err := os.MkdirTemp(filepath.Dir(file), "store-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := fill(dir); err != nil {
		return err
	}
	if err := writeBulk(filepath.Join(dir, filepath.Base(bulk)), size); err != nil {
		return err
	}
	_, err = image.Build(ctx, image.Options{Source: dir, Output: file, Compression: image.Compression{Algorithm: "zstd", Level: 1}})
	return err
}

// told is what a boot of a streamed image told.
type told struct {
	console string
	marks   map[string]float64 // seconds after /init
	sent    int64              // bytes of image and tree, until "bench: began"
}

// bootStreamed boots an image and ends the machine once stage 2 has told all
// that it will. Rate is that of the server; 0: as fast as it can.
func bootStreamed(ctx context.Context, c vm.Config, rate int64) (told, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	c.Direct, c.Memory, c.CPUs = true, 3<<10, 2
	c.Append += " loglevel=4 boot.fail_timeout=1"
	var sent atomic.Int64
	c.Wrap = func(h http.Handler) http.Handler {
		h = counted(h, &sent)
		if rate > 0 {
			h = netboot.Throttle(h, rate)
		}
		return h
	}
	m, err := vm.Start(ctx, c)
	if err != nil {
		return told{}, err
	}
	defer m.Close()
	began := int64(0)
	if _, err = m.Expect(ctx, "bench: began"); err == nil {
		began = sent.Load()
		_, err = m.Expect(ctx, "bench: end")
	}
	if err != nil {
		return told{}, fmt.Errorf("%w\n--- console ---\n%s\n--- to see it again ---\n%s", err, m.Console(), m.Command())
	}
	console := m.Console()
	return told{console, parseMarks(console), began}, nil
}

// counted counts what is sent.
func counted(h http.Handler, sent *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&counting{w, sent}, r)
	})
}

type counting struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// Unwrap lets http.ResponseController find what is beneath.
func (c *counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }
