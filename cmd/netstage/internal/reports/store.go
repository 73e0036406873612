// Package reports keeps the boot reports that machines post, in a folder, and
// shows how the last boot of each went.
package reports

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"netstage/stage1/report"
)

// Folder is where reports lie in the folder that is served.
const Folder = "reports"

// What is kept, whoever sends: a machine's reports beyond keep go, the oldest
// first; a machine beyond most is not taken.
const (
	keep      = 10
	most      = 4096
	mostBytes = 256 << 20
	// mostTold is how many machines one address may tell of that were not
	// known: whoever invents machines leaves room for those of others.
	mostTold = 256
)

// ErrTold says that an address tells of too many machines.
var ErrTold = fmt.Errorf("this address told of %d machines that were not known before", mostTold)

// ErrFull says that there are reports of too many machines.
var ErrFull = fmt.Errorf("there are reports of %d machines: remove some of the folder %s", most, Folder)

// A Store is a folder with a folder for each machine, which is named by its
// lowest MAC address, aa-bb-cc-dd-ee-ff, or else by its UUID.
type Store struct {
	root *os.Root
	mu   sync.Mutex
	// What the page shows of reports, by their path. The files do not change.
	known map[string]report.Report
	bytes int64          // of all reports
	told  map[string]int // by address: the machines that it told of first
}

// Open uses the folder reports in root, and makes it where it is missing.
func Open(root *os.Root) (*Store, error) {
	if err := root.Mkdir(Folder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("a folder for reports: %w", err)
	}
	s := &Store{root: root, known: map[string]report.Report{}, told: map[string]int{}}
	ids, err := s.machines()
	for _, id := range ids {
		names, failed := s.reports(id)
		err = errors.Join(err, failed)
		for _, name := range names {
			if info, err := root.Stat(path.Join(Folder, id, name+".json")); err == nil {
				s.bytes += info.Size()
			}
		}
	}
	return s, err
}

// verdictSuffix is what a verdict's file has after the report's name.
const verdictSuffix = ".verdict"

// stamp names reports in the order they came, by this host's clock.
const stamp = "20060102T150405.000Z"

// Add keeps a report, as it was sent, that came at a time from an address, and
// returns the path of its file.
func (s *Store) Add(text []byte, from string, at time.Time) (string, error) {
	return s.AddAppraised(text, from, at, Verdict{})
}

// AddAppraised is Add with a verdict on the report's quote, which lies beside it.
func (s *Store) AddAppraised(text []byte, from string, at time.Time, verdict Verdict) (string, error) {
	r, err := report.Parse(text)
	if err != nil {
		return "", err
	}
	id, err := Machine(r)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := path.Join(Folder, id)
	if _, err := s.root.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		machines, err := s.machines()
		if err != nil {
			return "", err
		}
		switch {
		case len(machines) >= most:
			return "", ErrFull
		case s.told[from] >= mostTold:
			return "", ErrTold
		}
		s.told[from]++
		if err := s.root.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
	}
	earlier, err := s.reports(id)
	if err != nil {
		return "", err
	}
	name := at.UTC().Format(stamp)
	for len(earlier) > 0 && name <= earlier[0] { // of the same millisecond, or the clock was set back
		last, err := time.Parse(stamp, earlier[0])
		if err != nil {
			return "", err
		}
		name = last.Add(time.Millisecond).Format(stamp)
	}
	file := path.Join(dir, name+".json")
	if s.bytes+int64(len(text)) > mostBytes {
		return "", fmt.Errorf("the reports have %d MiB: remove some of the folder %s", mostBytes>>20, Folder)
	}
	if err := s.write(file, text); err != nil {
		return "", err
	}
	s.bytes += int64(len(text))
	for name, text := range map[string]string{name + verdictSuffix: verdict.Text, keyFile: verdict.Key} {
		if text == "" {
			continue
		}
		if err := s.write(path.Join(dir, name), []byte(text+"\n")); err != nil {
			return "", err
		}
	}
	for _, old := range earlier[min(len(earlier), keep-1):] {
		s.root.Remove(path.Join(dir, old+verdictSuffix)) // most have none
		old = path.Join(dir, old+".json")
		delete(s.known, old)
		if info, err := s.root.Stat(old); err == nil {
			s.bytes -= info.Size()
		}
		if err := s.root.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return file, nil
}

// write makes a file, whole or not at all.
func (s *Store) write(name string, text []byte) error {
	partial := path.Join(path.Dir(name), ".new")
	if err := s.root.WriteFile(partial, text, 0o644); err != nil {
		return err
	}
	return s.root.Rename(partial, name)
}

// machines lists the machines that there are reports of.
func (s *Store) machines() ([]string, error) {
	entries, err := fs.ReadDir(s.root.FS(), Folder)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && isID(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// reports lists the reports of a machine, the newest first, without .json.
func (s *Store) reports(id string) ([]string, error) {
	entries, err := fs.ReadDir(s.root.FS(), path.Join(Folder, id))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if _, err := time.Parse(stamp, name); ok && err == nil && e.Type().IsRegular() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

// load reads a report and keeps what the page shows of it.
func (s *Store) load(file string) (report.Report, error) {
	if r, ok := s.known[file]; ok {
		return r, nil
	}
	r, err := s.read(file)
	if err != nil {
		return r, err
	}
	s.known[file] = shown(r)
	return s.known[file], nil
}

func (s *Store) read(file string) (report.Report, error) {
	info, err := s.root.Stat(file)
	if err != nil {
		return report.Report{}, err
	}
	if info.Size() > report.Most {
		return report.Report{}, fmt.Errorf("%s is too large for a boot report", file)
	}
	text, err := s.root.ReadFile(file)
	if err != nil {
		return report.Report{}, err
	}
	return report.Parse(text)
}

// A Boot is a report and when it came.
type Boot struct {
	report.Report
	Machine string // its name in the store
	Name    string // of the report in the store
	At      time.Time
	Verdict string   // on its quote; "" for none
	Earlier []string // names of older reports of the machine, the newest first
}

// Last is the last boot of every machine, in no order, and what could not be
// read.
func (s *Store) Last() ([]Boot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids, err := s.machines()
	var boots []Boot
	wrong := []error{err}
	for _, id := range ids {
		names, err := s.reports(id)
		if err != nil || len(names) == 0 {
			wrong = append(wrong, err)
			continue
		}
		r, err := s.load(path.Join(Folder, id, names[0]+".json"))
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		at, _ := time.Parse(stamp, names[0])
		verdict, _ := s.root.ReadFile(path.Join(Folder, id, names[0]+verdictSuffix)) // most have none
		boots = append(boots, Boot{r, id, names[0], at, strings.TrimSpace(string(verdict)), names[1:]})
	}
	return boots, errors.Join(wrong...)
}
