package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"netstage/fetch/kept"
	"netstage/fetch/verity"
)

// A bench has what the commands of the table need.
type bench struct {
	dir, tool string // what is read is in dir/in
	root      string // hash of in/image.squashfs
	mark      string // in the environment of whatever runs
}

// newBench makes what is read.
func newBench(t *testing.T) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "manners") // for nobody to reach, unlike a test's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bench{dir: dir, tool: filepath.Join(dir, "netstage"), mark: "MANNERS=" + filepath.Base(dir)}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	var tree bytes.Buffer
	root, err := verity.Build(bytes.NewReader(content), int64(len(content)), &tree, verity.Options{Salt: []byte("salt")})
	if err != nil {
		t.Fatal(err)
	}
	keep := kept.Order{Disk: "LABEL=none", Salt: hex.EncodeToString([]byte("salt")), Source: "http://a/web"}
	keep.Image = kept.Record{Version: 1, Name: "web", Kept: time.Now(), Seen: time.Now(), Size: int64(len(content)), RootHash: root}
	order, err := json.Marshal(keep)
	if err != nil {
		t.Fatal(err)
	}
	const stub = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
	program, err := os.ReadFile(stub)
	if err != nil {
		t.Skipf("needs the package systemd-boot-efi: %v", err)
	}
	random := make([]byte, 300<<10)
	for i := range random {
		random[i] = byte(i * i >> 3)
	}
	in := filepath.Join(dir, "in")
	for name, text := range map[string][]byte{
		"store/0123456789abcdfghijklmnpqrsvwxyz-hello/init": random, "agent": random, "hardware": []byte("8086:1533\n"), "kernel": program, "stub": program, "cmdline": []byte("console=ttyS0 quiet\n"),
		"report.json": []byte(`{"version":1,"state":"good","agent":"x","start_ms":1,"duration_ms":2,"machine":{"macs":["52:54:00:12:34:57"]},"steps":[{"name":"network","start_ms":1,"duration_ms":1}]}`),
		"first.hot":   []byte("netstage-hot 1\n131072 65536\n0 4096\n"), "kept": append(content, make([]byte, 4096)...), "keep/keep.json": order, "seed": content,
		"boot/bzImage": program, "boot/initrd.zst": random, "boot/cmdline": []byte("init=/init\n"),
	} {
		file := filepath.Join(in, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o777), os.WriteFile(file, text, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(writeModules(filepath.Join(in, "modules")), exec.Command("cp", self, b.tool).Run(), os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "tmp"), 0o777), os.Chmod(filepath.Join(dir, "tmp"), 0o777)); err != nil {
		t.Fatal(err)
	}
	mustDo(t, os.Chmod(filepath.Join(in, "keep"), 0o777)) // it works there
	for _, args := range [][]string{
		{"image", in + "/store", "-o", in + "/image.squashfs", "--compression", "gzip"}, {"image", in + "/store", "-o", in + "/boot/new.squashfs", "--compression", "gzip"},
		{"initrd", "--kernel-modules", in + "/modules", "--init", in + "/agent", "-o", in + "/initrd"}, {"keygen", "--no-password", "-o", in + "/ops"},
	} {
		registryTool(t, args...)
	}
	b.root = string(mustRead(t, in+"/image.squashfs.roothash"))
	t.Cleanup(func() { b.nothingRuns(t) })
	return b
}

// nothingRuns fails where a process of a command has outlived it.
func (b *bench) nothingRuns(t *testing.T) {
	var running []string
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		running = nil
		environments, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, file := range environments {
			if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, []byte(b.mark)) {
				command, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
				running = append(running, string(bytes.ReplaceAll(command, []byte{0}, []byte(" "))))
			}
		}
		if len(running) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("still there: %q", running)
			return
		}
	}
}

// A trial is one run of a command.
type trial struct {
	b       *bench
	m       manner
	in, out string
	env     []string
	nobody  bool
	before  string // a shell command in a mount namespace of its own
	outlet  *os.File
	errlet  *os.File
	signals []syscall.Signal
	after   time.Duration // when they are sent

	status syscall.WaitStatus
	stdout string
	said   string
	left   []string // in OUT
	took   time.Duration
}

// trial prepares one, with folders of its own.
func (b *bench) trial(t *testing.T, m manner) *trial {
	t.Helper()
	dir, err := os.MkdirTemp(b.dir, "trial")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &trial{b: b, m: m, in: filepath.Join(dir, "in"), out: filepath.Join(dir, "out")}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(r.out, 0o777), os.Chmod(r.out, 0o777), exec.Command("cp", "-a", filepath.Join(b.dir, "in"), r.in).Run()); err != nil {
		t.Fatal(err)
	}
	for _, name := range m.there {
		if err := exec.Command("cp", filepath.Join(r.in, "boot", name), r.out).Run(); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *trial) run(t *testing.T) {
	t.Helper()
	args := []string{r.b.tool}
	for _, arg := range r.m.args {
		args = append(args, strings.ReplaceAll(strings.ReplaceAll(arg, "OUT", r.out), "ROOT", r.b.root))
	}
	if r.before != "" {
		list := `ls -A "$OUT" | grep -vx .fill >"$OUT.left"`
		args = append([]string{"unshare", "-m", "--propagation", "private", "sh", "-c", r.before + ` || exit 99; "$@"; status=$?; ` + list + `; exit $status`, "sh"}, args...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = r.in
	tmp := filepath.Join(r.b.dir, "tmp")
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + tmp, "TMPDIR=" + tmp, "OUT=" + r.out, r.b.mark}, r.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if r.outlet != nil {
		cmd.Stdout = r.outlet
	}
	if r.errlet != nil {
		cmd.Stderr = r.errlet
	}
	if r.nobody {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if len(r.signals) > 0 {
		time.Sleep(r.after)
		for _, s := range r.signals {
			cmd.Process.Signal(s)
		}
	}
	cmd.Wait()
	r.took = time.Since(begun)
	if ctx.Err() != nil {
		t.Fatalf("%q does not end: %s", args, &stderr)
	}
	r.status, r.stdout, r.said = cmd.ProcessState.Sys().(syscall.WaitStatus), stdout.String(), stderr.String()
	if entries, err := os.ReadDir(r.out); err == nil && r.before == "" {
		for _, e := range entries {
			r.left = append(r.left, e.Name())
		}
	} else if r.before != "" {
		r.left = strings.Fields(string(mustRead(t, r.out+".left")))
	}
	if entries, _ := os.ReadDir(tmp); len(entries) > 0 {
		t.Errorf("%q: TMPDIR has %v", args, entries)
	}
}

// whole wants all that the command writes, and nothing else.
func (r *trial) whole(t *testing.T) {
	t.Helper()
	if r.status != 0 {
		t.Fatalf("%v: %s", r.status, r.said)
	}
	if !r.all() {
		t.Errorf("it wrote %q", r.left)
	}
}

func (r *trial) all() bool {
	for _, name := range slices.Concat(r.m.writes, r.m.there) {
		if !slices.Contains(r.left, name) {
			return false
		}
	}
	return !r.hidden() && (len(r.left) == len(r.m.writes)+len(r.m.there) || r.m.args[0] == "man")
}

func (r *trial) hidden() bool {
	return slices.ContainsFunc(r.left, func(name string) bool { return strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".part") })
}

// fails wants one line that says what is wrong, and nothing written.
func (r *trial) fails(t *testing.T, says string) {
	t.Helper()
	r.complains(t, says)
	r.nothing(t)
}

func (r *trial) complains(t *testing.T, says string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.said, "\n"), "\n")
	last := lines[len(lines)-1]
	if strings.HasPrefix(last, "hint: ") && r.status.ExitStatus() == exitUsage {
		last = lines[max(0, len(lines)-2)]
	} else if r.status.ExitStatus() != exitFailure {
		t.Errorf("it ended with %v: %s", r.status, r.said)
	}
	if prefix := "netstage " + r.m.args[0] + ": "; !strings.HasPrefix(last, prefix) || !strings.Contains(last, says) || strings.Count(r.said, prefix) != 1 {
		t.Errorf("it says, not in one line that says %q,\n%s", says, r.said)
	}
}

func (r *trial) nothing(t *testing.T) {
	t.Helper()
	var more []string
	for _, name := range r.left {
		if !slices.Contains(r.m.there, name) && name != ".fill" {
			more = append(more, name)
		}
	}
	if len(more) > 0 {
		t.Errorf("it left %q", more)
	}
}
