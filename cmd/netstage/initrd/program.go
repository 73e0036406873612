package initrd

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Program returns what it takes to start a program: itself, its loader and its
// shared libraries, which are each at their place on this host. A static one
// is alone.
func Program(f File) ([]File, error) {
	if err := executable(f.Source); err != nil {
		return nil, err
	}
	needed, err := closureOf(f.Source)
	if err != nil {
		return nil, fmt.Errorf("program %s: %w", f.Source, err)
	}
	files := []File{f}
	for _, file := range needed {
		files = append(files, File{Source: file, Target: file})
	}
	return files, nil
}

// program adds a program, with libraries that another may have brought.
func (a *archive) program(f File) error {
	files, err := Program(f)
	if err != nil {
		return err
	}
	for i, file := range files {
		if _, there := a.entries[strings.TrimPrefix(file.Target, "/")]; there && i > 0 {
			continue
		}
		if err := a.hostFile(file); err != nil {
			return err
		}
	}
	return nil
}

// closureOf returns the loader of a program, and the libraries that the loader
// will look for, by their paths here (ld.so(8)).
func closureOf(program string) ([]string, error) {
	loader, _, err := readELF(program)
	if err != nil || loader == "" {
		return nil, err
	}
	if _, err := os.Stat(loader); err != nil {
		return nil, fmt.Errorf("its loader: %w", err)
	}
	found := []string{loader}
	libraries := map[string]bool{filepath.Base(loader): true}
	system := systemFolders("/etc/ld.so.conf")
	for wave := []string{program}; len(wave) > 0; {
		file := wave[0]
		wave = wave[1:]
		_, e, err := readELF(file)
		if err != nil {
			return nil, err
		}
		for _, name := range e.needed {
			if libraries[name] {
				continue
			}
			libraries[name] = true
			library, err := e.find(file, name, system)
			if err != nil {
				return nil, err
			}
			found, wave = append(found, library), append(wave, library)
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// linking is what a program or library says of its libraries.
type linking struct {
	class   elf.Class
	machine elf.Machine
	needed  []string
	folders []string // runpath, or else rpath
}

func readELF(file string) (loader string, l linking, err error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", l, fmt.Errorf("%s: %w: want a program of this kind of machine, no script", file, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		text := make([]byte, p.Filesz)
		if _, err := p.ReadAt(text, 0); err != nil {
			return "", l, fmt.Errorf("%s: its loader: %w", file, err)
		}
		loader = strings.TrimRight(string(text), "\x00")
	}
	l.class, l.machine = f.Class, f.Machine
	if l.needed, err = f.ImportedLibraries(); err != nil {
		return "", l, fmt.Errorf("%s: its libraries: %w", file, err)
	}
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		paths, _ := f.DynString(tag)
		for _, p := range paths {
			l.folders = append(l.folders, strings.Split(p, ":")...)
		}
		if len(l.folders) > 0 {
			break
		}
	}
	return loader, l, nil
}

// find looks for a library of file where the loader will.
func (l linking) find(file, name string, system []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range slices.Concat(l.folders, system) {
		dir = strings.NewReplacer("$ORIGIN", filepath.Dir(file), "${ORIGIN}", filepath.Dir(file)).Replace(dir)
		library := path.Join(dir, name)
		if _, other, err := readELF(library); err == nil && other.class == l.class && other.machine == l.machine {
			return library, nil
		}
	}
	return "", fmt.Errorf("%s needs %s, which is in none of %s", file, name, strings.Join(slices.Concat(l.folders, system), ", "))
}

// systemFolders are those of the loader's configuration, then its own.
func systemFolders(conf string) []string {
	folders := configuredFolders(conf, 0)
	// What glibc is built to look into, here and on Debian.
	own, _ := filepath.Glob("/lib/*-linux-*")
	return append(append(folders, own...), "/lib64", "/usr/lib64", "/lib", "/usr/lib")
}

func configuredFolders(conf string, depth int) []string {
	f, err := os.Open(conf)
	if err != nil || depth > 3 {
		return nil
	}
	defer f.Close()
	var folders []string
	for s := bufio.NewScanner(f); s.Scan(); {
		line, _, _ := strings.Cut(s.Text(), "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && words[0] == "include":
			files, _ := filepath.Glob(words[1])
			for _, file := range files {
				folders = append(folders, configuredFolders(file, depth+1)...)
			}
		case len(words) == 1 && path.IsAbs(words[0]):
			folders = append(folders, words[0])
		}
	}
	return folders
}

// executable tells whether a file can be packed as a program.
func executable(file string) error {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return &fs.PathError{Op: "program", Path: file, Err: errors.New("no executable file")}
	}
	return nil
}
