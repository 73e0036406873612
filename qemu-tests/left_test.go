package qemutests

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"netstage/fetch/faulty"
	"netstage/qemu-tests/system"
)

// listLeft prints what a boot has left in stage 2's /run and /etc, with modes,
// and where a secret is.
const listLeft = `
find /run /etc -xdev -type f -exec stat -c 'left: %a %n' {} ';'
for file in $(grep -rls geheim /run /etc /root /tmp /var 2>/dev/null); do
	echo "secret: $(stat -c '%a %n' $file)"
done
`

// Whatever a boot with secrets leaves behind, users of stage 2 find none; and
// what it leaves is what docs/security.md says, with those modes.
func TestLeftForStage2(t *testing.T) {
	t.Parallel()
	token := map[string]string{"/etc/netstage/token": `{"origin": "http://{addr}", "token": "geheim-token"}`, "/etc/netstage/report-token": `{"origin": "http://{addr}", "token": "geheim-report"}`}
	for name, s := range map[string]scenario{
		"the NIC down":    {},
		"the NIC kept":    {cmdline: "boot.network=keep "},
		"a failure first": {cmdline: "boot.fail_timeout=0 ", lan: mirrored(faulty.Behaviour{Status: 404}), story: []step{shows("boot failed: http-404", "any other: retry"), types(" ")}},
	} {
		t.Run(name, func(t *testing.T) {
			if s.lan == nil {
				s.lan = &network{}
			}
			s.image = system.Files{"init": system.Script(listLeft + system.Tell + system.PowerOff), "nixos-version": "25.05"}
			s.files = token
			s.cmdline += "rootfs=http://user:geheim-url@{addr}/image.squashfs rootfs.sha256={sha256} rootfs.token=/etc/netstage/token init={init} " +
				"boot.report=http://user:geheim-user@{addr}/reports live.password=geheim-word mod.x=geheim-module other=ghp_geheim0123456789"
			s.check = func(p *played) {
				checkLeft(p.t, p.console())
			}
			s.run(t)
		})
	}
}

// checkLeft asserts that what listLeft printed is documented, and tells nobody
// a secret.
func checkLeft(t *testing.T, console string) {
	t.Helper()
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{} // modes, by a pattern of paths
	for _, row := range regexp.MustCompile("(?m)^\\| `(/[^`]+)` \\| ([0-7]{3}) \\|").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = row[2]
	}
	found := regexp.MustCompile(`(?m)left: (\d+) (\S+)`).FindAllStringSubmatch(console, -1)
	if len(found) < 3 {
		t.Errorf("only %d files are left", len(found))
	}
	for _, left := range found {
		if mode := modeOf(documented, left[2]); mode != left[1] {
			t.Errorf("%s is left with mode %s; docs/security.md says %q", left[2], left[1], mode)
		}
	}
	for _, secret := range regexp.MustCompile(`(?m)secret: (\d+) (\S+)`).FindAllStringSubmatch(console, -1) {
		if !strings.HasSuffix(secret[1], "00") {
			t.Errorf("%s with mode %s has a secret", secret[2], secret[1])
		}
	}
}

// modeOf is the documented mode of a file; a * stands for a name.
func modeOf(documented map[string]string, path string) string {
	for pattern, mode := range documented {
		if regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `[^/]+`) + "$").MatchString(path) {
			return mode
		}
	}
	return ""
}
