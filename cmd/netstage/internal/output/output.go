// Package output writes files whole or not at all: beside the name that they
// are to have, which they take when all of them are complete.
package output

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Set is of files that belong together. What was there before stays until
// Commit, and for good where something fails.
type Set struct{ files []file }

type file struct{ temp, name string }

// Writer writes one file. It ends with the context, and its errors have the
// name that the file will have.
type Writer struct {
	ctx  context.Context
	file *os.File
	name string
}

// Path is where the file is until it is complete, for programs.
func (w *Writer) Path() string { return w.file.Name() }

func (w *Writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.file.Write(p)
	return n, w.named(err)
}

func (w *Writer) WriteAt(p []byte, at int64) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.file.WriteAt(p, at)
	return n, w.named(err)
}

func (w *Writer) named(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return &fs.PathError{Op: of.Op, Path: w.name, Err: of.Err}
	}
	return err
}

// Add has write make the file that is to be at name, where a file may be
// already.
func (s *Set) Add(ctx context.Context, name string, mode fs.FileMode, write func(*Writer) error) error {
	name, err := Name(name)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(name), hidden(name))
	if err != nil {
		return beside(name, err)
	}
	s.files = append(s.files, file{temp.Name(), name})
	w := &Writer{ctx, temp, name}
	err = write(w)
	if err == nil {
		err = w.named(errors.Join(temp.Chmod(mode), temp.Sync()))
	}
	if closed := temp.Close(); err == nil {
		err = w.named(closed)
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// Commit gives all files their names.
func (s *Set) Commit() error {
	for len(s.files) > 0 {
		f := s.files[0]
		if err := os.Rename(f.temp, f.name); err != nil {
			return fmt.Errorf("put %s in place: %w", f.name, errors.Unwrap(err))
		}
		s.files = s.files[1:]
	}
	return nil
}

// Close removes what was not committed.
func (s *Set) Close() error {
	var wrong error
	for _, f := range s.files {
		if err := os.Remove(f.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			wrong = errors.Join(wrong, err)
		}
	}
	s.files = nil
	return wrong
}

// Write has write make the file at name.
func Write(ctx context.Context, name string, mode fs.FileMode, write func(*Writer) error) error {
	var s Set
	err := s.Add(ctx, name, mode, write)
	if err == nil {
		err = s.Commit()
	}
	return errors.Join(err, s.Close())
}

// Text puts text at name, which everybody may read.
func Text(ctx context.Context, name string, text []byte) error {
	return Write(ctx, name, 0o644, Of(text))
}

// Of writes a text.
func Of(text []byte) func(*Writer) error {
	return func(w *Writer) error {
		_, err := w.Write(text)
		return err
	}
}

// Folder makes a folder beside name, for what takes names beside it when it is
// complete. The caller removes it.
func Folder(name string) (string, error) {
	dir, err := os.MkdirTemp(filepath.Dir(name), hidden(name))
	if err != nil {
		return "", beside(name, err)
	}
	return dir, nil
}

// hidden is a pattern for what is beside name.
func hidden(name string) string {
	base := filepath.Base(name)
	return "." + strings.ReplaceAll(base[:min(len(base), 100)], "*", "_") + ".*"
}

// beside is an error about a folder, whatever was to be made in it.
func beside(name string, err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		err = of.Err
	}
	return fmt.Errorf("write %s: %w", name, err)
}

// Name is the absolute path of the file that is written at name: where a
// symbolic link leads, that is replaced and not the link. It is an error where
// something else than a file is there, or no folder to put it in.
func Name(name string) (string, error) {
	if name == "" {
		return "", errors.New("an output has no name")
	}
	if strings.HasSuffix(name, "/") {
		return "", fmt.Errorf("%s names a folder: give the name of a file in it", name)
	}
	said := name
	name, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	for range 40 {
		link, err := os.Readlink(name)
		if err != nil {
			break
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(name), link)
		}
		name = link
	}
	if info, err := os.Lstat(name); err == nil && info.IsDir() {
		return "", fmt.Errorf("%s is a folder: give the name of a file in it", said)
	} else if err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s exists and is no regular file, which alone is replaced", said)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("write %s: there is no folder %s", said, filepath.Dir(name))
	}
	if err != nil {
		return "", err
	}
	return filepath.Join(folder, filepath.Base(name)), nil
}
