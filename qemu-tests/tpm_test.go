package qemutests

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
	"netstage/stage1/report"
)

// startTPM starts swtpm for one power-on of a machine; its memory is in dir.
// It returns QEMU's arguments.
func startTPM(t *testing.T, dir, model string) []string {
	t.Helper()
	socket := filepath.Join(dir, "socket")
	os.Remove(socket)
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--ctrl", "type=unixio,path="+socket, "--terminate")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("swtpm makes no socket: %s", &said)
		}
	}
	return []string{"-chardev", "socket,id=tpm,path=" + socket, "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", model + ",tpmdev=tpm0"}
}

// freeAddress is one of this host's that nobody listens at, and what machines
// call it.
func freeAddress(t *testing.T) (address, url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().String(), "http://10.0.2.2:" + port + "/"
}

// serveReports runs netstage serve, and returns what it logs.
func serveReports(t *testing.T, address, dir string, flags ...string) (log func() string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "log")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	cmd := exec.Command(build(t, "netstage/cmd/netstage"), append([]string{"serve", "--dir", dir, "--listen", address, "--reports"}, flags...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	log = func() string { text, _ := os.ReadFile(name); return string(text) }
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return log
		}
		if time.Now().After(until) {
			t.Fatalf("netstage serve does not listen: %s", log())
		}
	}
}

// tool runs netstage.
func tool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(build(t, "netstage/cmd/netstage"), args...).CombinedOutput(); err != nil {
		t.Fatalf("netstage %v: %v\n%s", args, err, out)
	}
}

// A fleet is what machines of one owner boot: an image with a signed manifest,
// and an initrd that boots nothing else, and nothing older.
type fleet struct {
	t        *testing.T
	dir, web string
	config   vm.Config // the kernel, and that initrd
}

func newFleet(t *testing.T, toplevel system.Files) fleet {
	t.Helper()
	f := fleet{t: t, dir: t.TempDir(), web: t.TempDir()}
	install(t, store(t, toplevel).path, filepath.Join(f.web, "web.squashfs"))
	tool(t, "keygen", "-o", f.at("ops"), "--no-password")
	f.config = f.guest("policy.json", `{"version": 1, "shell": "never", "verify": "required", "manifest": 2, "rollback": "required"}`)
	return f
}

func (f fleet) at(name string) string { return filepath.Join(f.dir, name) }

// guest is a machine whose initrd has a policy.
func (f fleet) guest(name, policy string) vm.Config {
	f.t.Helper()
	writeFile(f.t, f.at(name), policy)
	c := guestPacked(f.t, xzModules, initrd.File{Source: f.at("ops.pub"), Target: "/etc/netstage/trusted.d/ops.pub"},
		initrd.File{Source: f.at(name), Target: "/etc/netstage/policy.json"})
	c.Direct, c.Plain = true, true
	return c
}

// sign has the web server offer a manifest of a serial.
func (f fleet) sign(serial string) {
	f.t.Helper()
	tool(f.t, "sign", filepath.Join(f.web, "web.squashfs"), "--init", system.Init, "--key", f.at("ops.key"), "--serial", serial, "-o", filepath.Join(f.web, "web.manifest"))
}

// A machine with a TPM: what it measures is what netstage predict computed from
// the files, netstage serve believes its quote, systemd-pcrlock and tpm2-tools
// read quote and event log, and an older manifest than the one that it booted
// is refused after power-off, of which the quote of that failure tells.
func TestQEMUMeasuredBoot(t *testing.T) {
	t.Parallel()
	machine := t.TempDir()
	toplevel := pcrlock(t)
	toplevel["init"] = system.Script("echo \"eventlog $(base64 -w0 < /run/log/netstage/binary_measurements)\"\n" +
		"ls -l /run/log/netstage /run/log/systemd\n" + runPCRLock + system.Tell + system.PowerOff)
	toplevel["nixos-version"] = "25.05"
	f := newFleet(t, toplevel)
	f.sign("7")
	first := f.signed()

	// Where the server will be is part of the command line, and that of what
	// the server expects.
	address, url := freeAddress(t)
	cmdline := "console=ttyS0 panic=-1 loglevel=6 boot.fail_timeout=5 rootfs.manifest=" + url + "web.manifest boot.report=" + url + "reports"
	makeUKI(t, f.config, cmdline, f.at("boot.efi"))
	tool(t, "predict", "--uki", f.at("boot.efi"), "--manifest", filepath.Join(f.web, "web.manifest"), "-o", f.at("expected.json"))
	log := serveReports(t, address, f.web, "--expect", f.at("expected.json"))

	t.Run("booted", func(t *testing.T) {
		m := start(t, vm.Config{UEFI: true, EFI: f.at("boot.efi"), Memory: 1024, ExtraArgs: startTPM(t, machine, "tpm-crb")})
		m.end(vm.PowerOff, "netstage-image measured into PCR 8", "the TPM remembers serial 7", "stage 2: pid 1")
		if !strings.Contains(log(), ": attested, by a TPM not known before\"") {
			t.Errorf("the server says:\n%s", log())
		}
		checkEventLog(t, m.Console(), f.at("expected.json"))
		checkPCRLock(t, m.Console())
		checkByTools(t, f.web)
	})
	f.sign("6")
	t.Run("replayed", func(t *testing.T) {
		c := f.config
		c.Append, c.ExtraArgs = cmdline, append(startTPM(t, machine, "tpm-tis"), c.ExtraArgs...)
		start(t, c).end(vm.Reset, "boot failed: rollback", "has serial 6, and this machine has booted serial 7", "!stage 2: pid 1")
		// Its PCR 8 is as predicted for then; that no stub measured it, is
		// told.
		if verdict := lastVerdict(log()); !strings.Contains(verdict, "not attested: PCR 11 is 000000000000…") || strings.Contains(verdict, "PCR 8") {
			t.Errorf("of a boot that failed the server says %q, all in all:\n%s", verdict, log())
		}
	})
	// Another command line, policy or manifest is another PCR 8, the one that
	// is predicted for it. make trust changes each alone.
	f.sign("8")
	later := f.signed()
	other := f.guest("other.json", `{"version": 1, "shell": "never", "verify": "required", "manifest": 2, "rollback": "required", "signatures": 1}`)
	changes := map[string][]string{"all changed": {"command line", "policy", "manifest"}}
	if os.Getenv("NETSTAGE_TRUST") == "all" {
		changes = map[string][]string{"another command line": {"command line"}, "another policy": {"policy"}, "another manifest": {"manifest"}}
	}
	for name, changed := range changes {
		t.Run(name, func(t *testing.T) {
			c, line := f.config, cmdline
			f.offer(first)
			for _, what := range changed {
				switch what {
				case "command line":
					line += " quiet"
				case "policy":
					c = other
				case "manifest":
					f.offer(later)
				}
			}
			tool(t, "predict", "--initrd", c.Initrds[0], "--cmdline", line, "--manifest", filepath.Join(f.web, "web.manifest"), "-o", f.at("other.json"))
			want, was := predicted(t, f.at("other.json")), predicted(t, f.at("expected.json"))
			c.Append, c.ExtraArgs = line, append(startTPM(t, machine, "tpm-tis"), c.ExtraArgs...)
			start(t, c).end(vm.PowerOff, "netstage-image measured into PCR 8", "stage 2: pid 1")
			if told := fmt.Sprintf("not attested: PCR 8 is %.12s…, expected %.12s…", want, was); want == was || !strings.Contains(lastVerdict(log()), told) {
				t.Errorf("the server says %q, want %q", lastVerdict(log()), told)
			}
		})
	}
}

// signed is a manifest with its signature.
type signed [2]string

func (f fleet) signed() (s signed) {
	f.t.Helper()
	for i, suffix := range []string{"", ".minisig"} {
		text, err := os.ReadFile(filepath.Join(f.web, "web.manifest"+suffix))
		if err != nil {
			f.t.Fatal(err)
		}
		s[i] = string(text)
	}
	return s
}

// offer has the web server offer one that was signed before.
func (f fleet) offer(s signed) {
	f.t.Helper()
	writeFile(f.t, filepath.Join(f.web, "web.manifest"), s[0])
	writeFile(f.t, filepath.Join(f.web, "web.manifest.minisig"), s[1])
}

// predicted is PCR 8 in what netstage predict wrote.
func predicted(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`"index": 8,\s+"sha256": "([0-9a-f]+)"`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no PCR 8 in %s", text)
	}
	return string(found[1])
}

// lastVerdict is the last line of a log that is about a quote.
func lastVerdict(log string) string {
	lines := regexp.MustCompile(`(?m)^.*attested.*$`).FindAllString(log, -1)
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// A machine with UEFI and no TPM remembers in its firmware what it has booted.
func TestQEMURollbackInFirmware(t *testing.T) {
	t.Parallel()
	f := newFleet(t, classic())
	address, url := freeAddress(t)
	serveReports(t, address, f.web)
	c := f.config
	c.UEFI, c.Variables = true, f.at("variables.fd")
	c.Append = "console=ttyS0 panic=-1 loglevel=6 boot.fail_timeout=1 rootfs.manifest=" + url + "web.manifest"
	f.sign("7")
	start(t, c).end(vm.PowerOff, "the firmware's variables remembers serial 7", "stage 2: pid 1")
	f.sign("6")
	start(t, c).end(vm.Reset, "boot failed: rollback", "has serial 6, and this machine has booted serial 7", "!stage 2: pid 1")
}

// checkEventLog has tpm2_eventlog read what stage 2 found.
func checkEventLog(t *testing.T, console, expected string) {
	t.Helper()
	found := regexp.MustCompile(`eventlog ([A-Za-z0-9+/=]+)`).FindStringSubmatch(console)
	if found == nil {
		t.Fatal("stage 2 finds no event log")
	}
	log, err := base64.StdEncoding.DecodeString(found[1])
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "log")
	writeFile(t, name, string(log))
	out, err := exec.Command("tpm2_eventlog", name).CombinedOutput()
	if err != nil {
		t.Fatalf("tpm2_eventlog: %v\n%s", err, out)
	}
	if eight := predicted(t, expected); !strings.Contains(string(out), "8  : 0x"+eight) {
		t.Errorf("tpm2_eventlog computes another PCR 8 than %s:\n%s", eight, out)
	}
	for _, mode := range []string{"-rw-------"} {
		if strings.Count(console, mode) < 2 {
			t.Error("an event log can be read by others")
		}
	}
}

// checkByTools has tpm2_checkquote verify the quote of the report that was
// kept.
func checkByTools(t *testing.T, kept string) {
	t.Helper()
	text, err := os.ReadFile(one(t, kept+"/reports/*/*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal(text, &r); err != nil || r.Quote == nil {
		t.Fatalf("no quote in %s: %v", text, err)
	}
	dir, size := t.TempDir(), len(r.Quote.Key)
	writeFile(t, dir+"/key", string([]byte{byte(size >> 8), byte(size)})+string(r.Quote.Key))
	writeFile(t, dir+"/attest", string(r.Quote.Attest))
	writeFile(t, dir+"/signature", string(r.Quote.Signature))
	cmd := exec.Command("tpm2_checkquote", "-u", "key", "-m", "attest", "-s", "signature", "-g", "sha256", "-q", hex.EncodeToString(r.Quote.Nonce))
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("tpm2_checkquote: %v\n%s", err, out)
	}
}
