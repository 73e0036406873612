package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"aead.dev/minisign"
	"golang.org/x/term"

	"netstage/fetch/manifest"
)

// loadSecretKey reads a minisign secret key, and asks for its password if it
// has one.
func loadSecretKey(file, passwordFile string, std streams) (minisign.PrivateKey, error) {
	var key minisign.PrivateKey
	text, err := os.ReadFile(file)
	if err != nil {
		return key, err
	}
	if !minisign.IsEncrypted(text) {
		err = key.UnmarshalText(text)
	} else {
		var password string
		if password, err = readPassword(passwordFile, "password of "+file, std); err != nil {
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
func readPassword(file, prompt string, std streams) (string, error) {
	if file != "" {
		text, err := os.ReadFile(file)
		line, _, _ := bytes.Cut(text, []byte("\n"))
		return strings.TrimSuffix(string(line), "\r"), err
	}
	if std.in == nil || !term.IsTerminal(int(std.in.Fd())) {
		return "", usageError("there is no terminal to ask for the password: give --password-file FILE")
	}
	fmt.Fprintf(std.err, "%s: ", prompt)
	text, err := term.ReadPassword(int(std.in.Fd()))
	fmt.Fprintln(std.err)
	return string(text), err
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

// replaceFile puts text at name, whole or not at all.
func replaceFile(name string, text []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".")
	if err != nil {
		return err
	}
	_, err = temp.Write(text)
	err = errors.Join(err, temp.Chmod(0o644), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}
