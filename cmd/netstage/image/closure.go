package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"netstage/nix"
)

// A Closure is a set of store paths with all they refer to.
type Closure struct {
	Paths        []string // where they lie on this host
	Registration []byte   // what "nix-store --load-db" is to read on the machine
}

// QueryClosure asks Nix for the closure of a store path. store is the folder
// whose nix/store holds it, as for Nix's own --store; empty stands for this
// system's.
func QueryClosure(ctx context.Context, store, path string) (Closure, error) {
	listed, err := nixStore(ctx, store, "--query", "--requisites", path)
	if err != nil {
		return Closure{}, err
	}
	dump, err := nixStore(ctx, store, append([]string{"--dump-db"}, strings.Fields(string(listed))...)...)
	if err != nil {
		return Closure{}, err
	}
	return closure(store, dump)
}

// ReadClosureInfo reads a folder that closureInfo of nixpkgs made
// (pkgs/build-support/closure-info.nix). Its paths are in the store of
// QueryClosure's first argument.
func ReadClosureInfo(store, dir string) (Closure, error) {
	dump, err := os.ReadFile(filepath.Join(dir, "registration"))
	if err != nil {
		return Closure{}, fmt.Errorf("closure: %w", err)
	}
	return closure(store, dump)
}

func closure(store string, dump []byte) (Closure, error) {
	valid, err := nix.ParseRegistration(bytes.NewReader(dump))
	if err == nil && len(valid) == 0 {
		err = errors.New("no path is in it")
	}
	if err == nil {
		err = nix.CheckClosed(valid)
	}
	var registration bytes.Buffer
	if err == nil {
		err = nix.WriteRegistration(&registration, valid)
	}
	if err != nil {
		return Closure{}, fmt.Errorf("closure: %w", err)
	}
	c := Closure{Registration: registration.Bytes()}
	for _, p := range valid {
		c.Paths = append(c.Paths, filepath.Join(store, p.Path))
	}
	slices.Sort(c.Paths)
	return c, nil
}

func nixStore(ctx context.Context, store string, args ...string) ([]byte, error) {
	if store != "" {
		args = append([]string{"--store", store}, args...)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "nix-store", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("nix-store is not installed: run this where the system was built (Debian: nix-bin)")
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args[:min(len(cmd.Args), 6)], " "), err, strings.Join(strings.Fields(stderr.String()), " "))
	}
	return out, nil
}
