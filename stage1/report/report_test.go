package report

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"netstage/stage1/cmdline"
	"netstage/stage1/fault"
)

// The documented format is the one that is written.
func TestDocumentedFormat(t *testing.T) {
	text, err := os.ReadFile("../../docs/report.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\|").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = strings.TrimSpace(row[2])
	}
	written := map[string]string{}
	fields(written, "", false, reflect.TypeFor[Report]())
	if diff := cmp.Diff(written, documented); diff != "" {
		t.Errorf("docs/report.md (-written +documented):\n%s", diff)
	}
}

// fields lists the fields of a type by their paths.
func fields(into map[string]string, path string, optional bool, t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer:
		fields(into, path, optional, t.Elem())
		return
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 { // as JSON has it
			t = reflect.TypeFor[string]()
			break
		}
		fields(into, path+"[]", optional, t.Elem())
		return
	case reflect.Struct:
		for i := range t.NumField() {
			name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			if path != "" {
				name = path + "." + name
			}
			fields(into, name, optional || options == "omitempty", t.Field(i).Type)
		}
		return
	}
	kind := map[reflect.Kind]string{reflect.String: "string", reflect.Int: "integer", reflect.Int64: "integer", reflect.Uint64: "integer", reflect.Bool: "boolean"}[t.Kind()]
	if optional {
		kind += ", optional"
	}
	into[path] = kind
}

func example() Report {
	return Report{
		Version: 1, State: Failed, Agent: "1.0", Kernel: "6.12", Written: "2026-11-27T03:04:05Z", StartMS: 2683, DurationMS: 12340,
		Machine:    Machine{Vendor: "ACME", Product: "<Node 4>", Serial: "S/N 7", UUID: "0a", Hostname: "n7", MACs: []string{"52:54:00:12:34:56"}},
		Parameters: []string{"quiet", "rootfs=http://10.0.2.2:8080/nix-store.squashfs"},
		Steps:      []Step{{Name: "pseudo", StartMS: 2683, DurationMS: 13}, {Name: "devices", StartMS: 2696}, {Name: "network", StartMS: 2990, DurationMS: 188}, {Name: "image", StartMS: 3178, DurationMS: 11000, Failure: "http-404"}},
		Failure:    &fault.Failure{Class: "http-404", Cause: "image: no mirror has it: 10.0.2.2:8080 answered 404 Not Found", Step: "image", Tried: []string{"GET http://10.0.2.2:8080/nix-store.squashfs: 404"}},
		Network:    &Lease{Link: "eth0", MAC: "52:54:00:12:34:56", Address: "10.0.2.15/24", Server: "10.0.2.2", Gateway: "10.0.2.2", Source: "dhcp", TookMS: 50},
		Links:      []Link{{Name: "eth0", MAC: "52:54:00:12:34:56", Driver: "virtio_net", Carrier: true, Addresses: []string{"10.0.2.15/24"}, Status: "10.0.2.15/24, 11 s", Winner: true}},
		Download: &Download{What: "image", Total: -1, ETAMS: -1, Retries: 2, TookMS: 10900, Mirrors: []Mirror{
			{URL: "http://10.0.2.2:8080/nix-store.squashfs", Faults: 3, Answer: "404 Not Found", Class: "http-404", Bad: true},
		}},
		Memory:    &Memory{Total: 2 << 30, Available: 1900 << 20},
		Warnings:  []Warning{{AtMS: 3310, Text: "image: 10.0.2.2:8080: 404 Not Found", What: "image", Mirror: "10.0.2.2:8080", Class: "http-404"}},
		KernelLog: []string{"[    2.683882] stage-1-init: pseudo (1/8): mount the special file systems", "[    3.1] \x1b[31mred " + strings.Repeat("long ", 20)},
	}
}

func TestText(t *testing.T) {
	check := func(name, got string) {
		for line := range strings.Lines(got) {
			if line = strings.TrimSuffix(line, "\n"); utf8.RuneCountInString(line) > 80 || strings.TrimRight(line, " ") != line {
				t.Errorf("%s: line %q", name, line)
			}
		}
		want, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	check("failed.txt", example().Text(80))
	good := example()
	good.State, good.Failure, good.Steps[3].Failure, good.Parameters, good.Warnings, good.KernelLog = Good, nil, "", nil, nil, nil
	good.Image = &Image{Source: "http://10.0.2.2:8080/nix-store.squashfs", Size: 26 << 20, SHA256: strings.Repeat("ab", 32), Layout: "nix-store"}
	check("good.txt", good.Text(80))
	for want, r := range map[string]Report{
		"Running, or cut off: in the first step, after 0.000 s\n": {State: Running},
		"Checked: stage 2 could have been started after 2m5s\n":   {State: Check, DurationMS: 125100},
	} {
		if got := r.Text(80); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestEncodeAndParse(t *testing.T) {
	var text bytes.Buffer
	if err := example().Encode(&text); err != nil {
		t.Fatal(err)
	}
	got, err := Parse(text.Bytes())
	if diff := cmp.Diff(example(), got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``: "unexpected end", `[]`: "cannot unmarshal", `{"version":2,"state":"good"}`: "version 2",
		`{"version":1,"state":"fine"}`:                                             `unknown state "fine"`,
		`{"version":1,"state":"failed"}`:                                           "goes with a failure",
		`{"version":1,"state":"good","failure":{}}`:                                "goes with a failure",
		`{"version":1,"state":"good","duration_ms":-1}`:                            "out of range",
		`{"version":1,"state":"good","steps":[{"name":"image","duration_ms":-5}]}`: `step "image"`,
		`{"version":1,"state":"good","agent":"` + strings.Repeat("x", Most) + `"}`: "are the most",
		`{"version":1,"state":"good"}{"version":1,"state":"failed","failure":{}}`:  "after top-level value",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
	if _, err := Parse([]byte(`{"version":1,"state":"good","of_tomorrow":{"x":1}}`)); err != nil {
		t.Errorf("a newer agent's report: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	var text bytes.Buffer
	if err := example().Encode(&text); err != nil {
		f.Fatal(err)
	}
	f.Add(text.Bytes())
	f.Add([]byte(`{"version":1,"state":"good","machine":{"macs":null},"download":{"mirrors":[{}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		for line := range strings.Lines(r.Text(80)) {
			if line = strings.TrimSuffix(line, "\n"); utf8.RuneCountInString(line) > 80 || strings.ContainsFunc(line, unicode.IsControl) {
				t.Errorf("%q: line %q", text, line)
			}
		}
		var again bytes.Buffer
		if err := r.Encode(&again); err != nil {
			t.Fatal(err)
		}
		if again.Len() > Most {
			return
		}
		if _, err := Parse(again.Bytes()); err != nil {
			t.Errorf("%q is written as %q: %v", text, again.Bytes(), err)
		}
	})
}

func TestSecretsAreBlanked(t *testing.T) {
	line := `quiet root=fstab rootfs=http://deploy:hunter22@srv/img?sig=s3cr3t rootfs.token=/etc/netstage/token ` +
		`rootfs.sha256=00ff live.nixos.passwordHash=$6$salt$digest live.nixos.password=hunter23 my.hash=$y$j9T$abc ` +
		`systemd.set_credential=passwd.root:topsecret netroot=iscsi:joe:pw1234@10.0.0.1::3260::iqn memmap=4G@8G ` +
		`rd.list=http://a/b,http://u:pw5678@c/d wifi.psk="two words" boot.debug1`
	words, blank := Parameters(cmdline.Parse(line))
	want := []string{
		"quiet", "root=fstab", "rootfs=http://srv/img?…", "rootfs.token=/etc/netstage/token",
		"rootfs.sha256=00ff", "live.nixos.passwordHash=(blanked)", "live.nixos.password=(blanked)", "my.hash=(blanked)",
		"systemd.set_credential=(blanked)", "netroot=(blanked)@10.0.0.1::3260::iqn", "memmap=4G@8G",
		"rd.list=http://a/b,http://c/d", "wifi.psk=(blanked)", "boot.debug1",
	}
	if diff := cmp.Diff(want, words); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// As the kernel logs it, and as an error may cite a value.
	for _, text := range []string{"[    0.000000] Command line: " + line, "with environment: live.nixos.password=hunter23", "parse http://deploy:hunter22@srv/img?sig=s3cr3t: no"} {
		got := blank(text)
		for _, secret := range []string{"hunter", "s3cr3t", "$6$", "$y$", "topsecret", "pw1234", "pw5678", "two words"} {
			if strings.Contains(got, secret) {
				t.Errorf("%q is in %s", secret, got)
			}
		}
	}
	// What was cut in the middle of a secret, wherever it was.
	for _, text := range []string{"Command line: " + line, "Unknown kernel command line parameters \"" + line, "    live.nixos.password=hunter23", "got http://deploy:hunter22@srv/img?sig=s3cr3t", "systemd.set_credential=passwd.root:topsecret"} {
		for n := range len(text) {
			if got := blank(text[:n]); strings.Contains(got, "hunter2") || strings.Contains(got, "deploy:hu") || strings.Contains(got, "topse") || strings.Contains(got, "$6$s") || strings.Contains(got, "pw12") {
				t.Fatalf("%q is logged as %q", text[:n], got)
			}
		}
	}
	for word, want := range map[string]string{
		"a.b=ghp_0123456789abcdefghij": "a.b=(blanked)", "x.key=eyJhbGciOiJIUzI1NiJ9.e30.x": "x.key=(blanked)", "vpn.authkey=abc": "vpn.authkey=(blanked)", "wifi.pwd=abc": "wifi.pwd=(blanked)",
		"aws.access-key=abc": "aws.access-key=(blanked)", "luks.key=/dev/sda": "luks.key=/dev/sda", "ip=eyJ": "ip=eyJ", "console=ttyS0": "console=ttyS0",
	} {
		if words, _ := Parameters(cmdline.Parse(word)); words[0] != want {
			t.Errorf("%s is written as %s, want %s", word, words[0], want)
		}
	}
	if got := blank("root=fstab quiet"); got != "root=fstab quiet" {
		t.Errorf("%q", got)
	}
}

func FuzzParameters(f *testing.F) {
	f.Add("a.password=x b=$6$y$z rootfs=http://u:p@h/?q root=@ c")
	f.Fuzz(func(t *testing.T, line string) {
		params := cmdline.Parse(line)
		words, blank := Parameters(params)
		blank(line)
		if len(words) != len(params) {
			t.Errorf("%d words of %d parameters", len(words), len(params))
		}
		for i, p := range params {
			if p.Value != "" && namesSecret(p.Key) && words[i] != p.Key+"="+blanked {
				t.Errorf("%q", words[i])
			}
		}
	})
}
