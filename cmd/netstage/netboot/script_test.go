package netboot

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden scripts anew")

func TestScripts(t *testing.T) {
	digest := strings.Repeat("0123456789abcdef", 4)
	for name, script := range map[string]string{
		"fetched": Script(Boot{Kernel: "bzImage", Initrds: []string{"initrd.zst"}, Image: "nix-store.squashfs", SHA256: digest,
			Cmdline: "init=/nix/store/x-nixos-system-demo/init console=ttyS0 a=b=c", Base: "http://10.0.2.2:8080/"}),
		"all-in-one": Script(Boot{Kernel: "vmlinuz-6.1", Initrds: []string{"initrd", "initrd-store.cpio"},
			Cmdline: "init=/init", Base: "http://10.0.2.2/"}),
		"machine": Script(Boot{Kernel: "bzImage", Initrds: []string{"aa-bb-cc-dd-ee-ff/initrd"}, Image: "aa-bb-cc-dd-ee-ff/x.squashfs",
			Base: "http://10.0.2.2/aa-bb-cc-dd-ee-ff/", Note: "for the machine aa-bb-cc-dd-ee-ff"}),
		"own-rootfs": Script(Boot{Kernel: "bzImage", Initrds: []string{"initrd"}, Image: "x.squashfs", SHA256: digest,
			Cmdline: "rootfs=https://images/one.squashfs?key=1 BOOTIF=01-00-00-00-00-00-00", Base: "http://10.0.2.2/"}),
		"chain":   ChainScript("machines with files of their own get another script", "/"),
		"problem": ProblemScript("which kernel? there are ${net0/mac}, vmlinuz-2\nreboot"),
	} {
		golden := filepath.Join("testdata", name+".ipxe")
		if *update {
			if err := os.WriteFile(golden, []byte(script), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), script); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Every jump has a target, and no command that may fail ends the script.
func TestScriptsNeverStop(t *testing.T) {
	for _, script := range []string{
		Script(Boot{Kernel: "k", Initrds: []string{"i"}, Image: "s"}),
		ChainScript("", "/"),
		ProblemScript("x"),
	} {
		labels := make(map[string]bool)
		for _, line := range strings.Split(script, "\n") {
			if label, ok := strings.CutPrefix(line, ":"); ok {
				labels[label] = true
			}
		}
		for _, line := range strings.Split(script, "\n") {
			if _, label, ok := strings.Cut(line, "goto "); ok {
				label, _, _ = strings.Cut(label, " ")
				if !labels[label] {
					t.Errorf("no label %q for %q", label, line)
				}
			}
			for _, command := range []string{"kernel ", "initrd ", "chain ", "boot ", "iseq "} {
				if strings.HasPrefix(line, command) && !strings.Contains(line, "||") {
					t.Errorf("%q may end the script", line)
				}
			}
		}
		if !strings.Contains(script, "\nreboot\n") {
			t.Errorf("no reboot in\n%s", script)
		}
	}
}

func TestCmdlinesIPXECannotPass(t *testing.T) {
	for cmdline, ok := range map[string]bool{
		"init=/init a=b=c quiet": true,
		"a || b":                 false,
		"a #b":                   false,
		"a#b":                    true,
	} {
		if err := checkCmdline(cmdline); (err == nil) != ok {
			t.Errorf("%.20q: %v", cmdline, err)
		}
	}
}

func FuzzScript(f *testing.F) {
	f.Add("console=ttyS0\n# comment\ninit=/x", "problem")
	f.Add("rootfs=http://h/x?a=b\r\nreboot", "${x}\nreboot")
	f.Fuzz(func(t *testing.T, text, problem string) {
		cmdline := joinCmdline(text)
		if checkCmdline(cmdline) == nil {
			script := Script(Boot{Kernel: "k", Initrds: []string{"i"}, Cmdline: cmdline})
			plain := Script(Boot{Kernel: "k", Initrds: []string{"i"}})
			if strings.Count(script, "\n") != strings.Count(plain, "\n") {
				t.Errorf("%q adds lines", text)
			}
		}
		if strings.Count(ProblemScript(problem), "\n") != strings.Count(ProblemScript(""), "\n") {
			t.Errorf("%q adds lines", problem)
		}
	})
}
