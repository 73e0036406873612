package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"aead.dev/minisign"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"netstage/fetch/manifest"
)

// loadSecretKey reads a minisign secret key, and asks for its password if it
// has one.
func loadSecretKey(ctx context.Context, file, passwordFile string, std streams) (minisign.PrivateKey, error) {
	var key minisign.PrivateKey
	text, err := os.ReadFile(file)
	if err != nil {
		return key, err
	}
	if !minisign.IsEncrypted(text) {
		err = key.UnmarshalText(text)
	} else {
		var password string
		if password, err = readPassword(ctx, passwordFile, "password of "+file, std); err != nil {
			return key, err
		}
		key, err = minisign.DecryptKey(password, text)
	}
	if err != nil {
		return key, fmt.Errorf("secret key %s: %w (netstage keygen makes them, NAME.key)", file, err)
	}
	return key, nil
}

// readPassword reads the first line of a file, or else asks at the terminal.
func readPassword(ctx context.Context, file, prompt string, std streams) (string, error) {
	if file != "" {
		text, err := os.ReadFile(file)
		line, _, _ := bytes.Cut(text, []byte("\n"))
		return strings.TrimSuffix(string(line), "\r"), err
	}
	if std.in == nil || !term.IsTerminal(int(std.in.Fd())) {
		return "", usageError("there is no terminal to ask for the password: give --password-file FILE")
	}
	fmt.Fprintf(std.err, "%s: ", prompt)
	defer fmt.Fprintln(std.err)
	return readHidden(ctx, std.in)
}

// readHidden reads a line from a terminal that does not show it. When ctx ends,
// the terminal is as before.
func readHidden(ctx context.Context, in *os.File) (line string, err error) {
	fd := int(in.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", err
	}
	hidden := *before
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unix.IoctlSetTermios(fd, unix.TCSETS, before)) }()
	type answer struct {
		line []byte
		err  error
	}
	typed := make(chan answer, 1)
	go func() { // not waited for: a read from a terminal can't be interrupted
		var a answer
		for b := make([]byte, 1); ; a.line = append(a.line, b[0]) {
			if _, a.err = io.ReadFull(in, b); a.err != nil || b[0] == '\n' {
				break
			}
		}
		if errors.Is(a.err, io.EOF) && len(a.line) > 0 {
			a.err = nil
		}
		typed <- a
	}()
	select {
	case a := <-typed:
		return string(a.line), a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// loadTrusted reads public keys.
func loadTrusted(files []string) (manifest.Keys, error) {
	var keys manifest.Keys
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		key, err := manifest.ParseKey(filepath.Base(file), text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// createFile writes a file that must not exist yet: keys are not replaced.
func createFile(name string, text []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: file exists, and is not replaced: move it away, or give another name", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}
