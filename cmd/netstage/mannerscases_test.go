package main

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// badInputs are what may be in the place of what is read.
func badInputs(m manner) (all []happening) {
	for _, name := range m.reads {
		isAny := func() bool {
			for _, n := range m.any {
				if n == name {
					return true
				}
			}
			return false
		}()
		for what, change := range map[string]func(t *testing.T, r *trial, file string, folder bool) (says string){
			"missing": func(t *testing.T, r *trial, file string, _ bool) string {
				mustDo(t, os.RemoveAll(file))
				return name
			},
			"empty": func(t *testing.T, r *trial, file string, folder bool) string {
				mustDo(t, os.RemoveAll(file))
				if folder {
					mustDo(t, os.Mkdir(file, 0o777))
				} else {
					mustDo(t, os.WriteFile(file, nil, 0o666))
				}
				return name
			},
			"truncated": func(t *testing.T, r *trial, file string, folder bool) string {
				if folder {
					mustDo(t, os.RemoveAll(file), os.WriteFile(file, []byte("no folder"), 0o666))
					return name
				}
				info, err := os.Stat(file)
				mustDo(t, err, os.Truncate(file, info.Size()/2))
				return ""
			},
			"folder": func(t *testing.T, r *trial, file string, folder bool) string {
				mustDo(t, os.RemoveAll(file), os.Mkdir(file, 0o777))
				return name
			},
			"unreadable": func(t *testing.T, r *trial, file string, _ bool) string {
				mustDo(t, os.Chmod(file, 0))
				r.nobody = true
				return "ermission denied"
			},
		} {
			all = append(all, happening{name + " " + what, func(t *testing.T, r *trial) {
				file := filepath.Join(r.in, name)
				info, err := os.Stat(file)
				mustDo(t, err)
				says := change(t, r, file, info.IsDir())
				r.run(t)
				if isAny && (what == "empty" || what == "truncated") && r.status == 0 {
					r.whole(t)
				} else if m.args[0] == "passwd" && what == "empty" {
					r.fails(t, "empty")
				} else {
					r.fails(t, says)
				}
			}})
		}
		all = append(all, happening{name + " odd", func(t *testing.T, r *trial) {
			odd := "odd \n\xff name"
			mustDo(t, os.Rename(filepath.Join(r.in, name), filepath.Join(r.in, odd)))
			for _, suffix := range []string{".sha256", ".verity", ".roothash"} {
				os.Rename(filepath.Join(r.in, name+suffix), filepath.Join(r.in, odd+suffix))
			}
			r.m.args = replaced(m.args, name, odd)
			r.run(t)
			if r.status == 0 {
				r.whole(t)
			} else {
				r.fails(t, "")
			}
		}})
	}
	return all
}

func replaced(args []string, old, by string) (out []string) {
	for _, arg := range args {
		switch arg {
		case old:
			arg = by
		case "@" + old:
			arg = "@" + by
		}
		out = append(out, arg)
	}
	return out
}

// A password that is asked for is interrupted like all else, and the terminal
// shows again what is typed.
func TestPasswordInterrupted(t *testing.T) {
	self, err := os.Executable()
	mustDo(t, err)
	dir := t.TempDir()
	mustDo(t, os.Symlink(self, filepath.Join(dir, "netstage")))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", "trap : INT; ./netstage keygen -o new; echo status $?; stty -a; ls")
	cmd.Dir = dir
	_, shown := typed(t, cmd, "password for the secret key: ", "secret\x03")
	for _, want := range []string{"netstage keygen: interrupted", "status 130", " echo "} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in %s", want, shown)
		}
	}
	if strings.Contains(shown, "new.") {
		t.Errorf("it left something: %s", shown)
	}
}

// badOutputs are what may be where something is to be written.
func badOutputs(m manner) (all []happening) {
	if len(m.writes) == 0 {
		return nil
	}
	add := func(name string, do func(*testing.T, *trial)) { all = append(all, happening{name, do}) }
	for _, name := range m.reads {
		if i := slices.Index(m.args, "-o"); i >= 0 && name != "store" && name != "modules" {
			add("over "+name, func(t *testing.T, r *trial) {
				file := filepath.Join(r.in, name)
				before := mustReadAll(t, r.in, m.reads)
				r.m.args = slices.Clone(m.args)
				r.m.args[i+1] = file
				r.run(t)
				if r.status == 0 && (m.args[0] == "hot" || m.args[0] == "fetch") {
					return // they may
				}
				r.fails(t, "is read, too: ")
				if mustReadAll(t, r.in, m.reads) != before {
					t.Error("what was read is not there any more")
				}
			})
		}
	}
	add("full disk", func(t *testing.T, r *trial) {
		r.before = `keep=$(mktemp -d /dev/shm/mannersXXXX) && cp -a "$OUT/." $keep && mount -t tmpfs -o size=1m tmpfs "$OUT" && cp -a $keep/. "$OUT" && rm -r $keep && { head -c 1m /dev/zero >"$OUT/.fill" 2>/dev/null; true; }`
		r.run(t)
		r.fails(t, cmp.Or(m.full, "o space left on device"))
	})
	add("disk that fills up", func(t *testing.T, r *trial) {
		r.before = `keep=$(mktemp -d /dev/shm/mannersXXXX) && cp -a "$OUT/." $keep && mount -t tmpfs -o size=1m tmpfs "$OUT" && cp -a $keep/. "$OUT" && rm -r $keep && { head -c 900k /dev/zero >"$OUT/.fill" 2>/dev/null; true; }`
		r.run(t)
		if r.status == 0 {
			r.whole(t)
		} else if m.args[0] == "pull" { // which goes on with what is there
			r.complains(t, "o space left on device")
		} else {
			r.fails(t, cmp.Or(m.full, "o space left on device"))
		}
	})
	add("read-only disk", func(t *testing.T, r *trial) {
		r.before = `mount --bind "$OUT" "$OUT" && mount -o remount,bind,ro "$OUT"`
		r.run(t)
		r.fails(t, "ead-only file system")
	})
	add("not allowed", func(t *testing.T, r *trial) {
		mustDo(t, os.Chmod(r.out, 0o555))
		r.nobody = true
		r.run(t)
		r.fails(t, "ermission denied")
	})
	add("no folder", func(t *testing.T, r *trial) {
		mustDo(t, os.RemoveAll(r.out))
		r.run(t)
		if r.status != 0 || m.args[0] != "pull" { // which makes it
			r.fails(t, "out")
		}
	})
	for _, name := range m.writes {
		if m.args[0] == "keep" {
			break // it finds its own
		}
		add("folder at "+name, func(t *testing.T, r *trial) {
			mustDo(t, os.MkdirAll(filepath.Join(r.out, name, "x"), 0o777))
			r.run(t)
			r.m.there = append(r.m.there, name)
			if m.args[0] == "pull" {
				r.complains(t, name)
			} else {
				r.fails(t, name)
			}
		})
	}
	add("there already", func(t *testing.T, r *trial) {
		r.run(t)
		first := mustReadAll(t, r.out, m.writes)
		r.left = nil
		r.run(t)
		if !m.keeps {
			r.whole(t)
			return
		}
		r.complains(t, "is not replaced")
		if !r.all() || mustReadAll(t, r.out, m.writes) != first {
			t.Errorf("it is not what it was: %q", r.left)
		}
	})
	add("symbolic link", func(t *testing.T, r *trial) {
		real, link := filepath.Join(filepath.Dir(r.out), "real"), filepath.Join(r.out, m.writes[0])
		mustDo(t, os.WriteFile(real, []byte("before"), 0o666), os.Symlink(real, link))
		if m.args[0] == "keep" {
			return
		}
		r.run(t)
		text, err := os.ReadFile(real)
		mustDo(t, err)
		if to, _ := os.Readlink(link); to != real {
			t.Error("the link is gone")
		}
		if m.keeps != (string(text) == "before") {
			t.Errorf("%v: %.20q is where it leads", r.status, text)
		}
	})
	for _, odd := range []string{"two words", "-dash", "new\nline", "\xff", "*[a]?", strings.Repeat("n", 230)} {
		add("named "+odd, func(t *testing.T, r *trial) {
			out := filepath.Join(filepath.Dir(r.out), odd)
			mustDo(t, os.Rename(r.out, out))
			r.out = out
			r.run(t)
			r.whole(t)
		})
	}
	for _, odd := range []string{"two words", "-dash", "new\nline", "\xff", "*[a]?", strings.Repeat("n", 230)} {
		if i := len(m.args) - 1; strings.HasPrefix(m.args[i], "OUT/new") || m.args[0] == "image" {
			add("file named "+odd, func(t *testing.T, r *trial) {
				r.m.args, r.m.writes = nil, nil
				for _, arg := range m.args {
					r.m.args = append(r.m.args, strings.Replace(arg, "OUT/new", "OUT/"+odd, 1))
				}
				for _, name := range m.writes {
					r.m.writes = append(r.m.writes, strings.Replace(name, "new", odd, 1))
				}
				r.run(t)
				r.whole(t)
			})
		}
	}
	return all
}

func mustReadAll(t *testing.T, dir string, names []string) (all string) {
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			all += string(mustRead(t, filepath.Join(dir, name)))
		}
	}
	return all
}
