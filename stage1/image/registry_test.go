package image

import (
	"strings"
	"testing"

	"netstage/fetch/ref"
	"netstage/stage1/fault"
)

// A digest in a reference vouches for what the registry has, a tag for nothing,
// and neither for an image on a disk.
func TestWhatAReferenceVouchesFor(t *testing.T) {
	const pinned = "rootfs=oci://r/web@sha256:" + sha
	for name, test := range map[string]struct {
		line   string
		disk   bool
		strict bool
		class  fault.Class
		says   string // of the error, or of the log
	}{
		"a digest":                    {line: pinned, strict: true},
		"a tag":                       {line: "rootfs=oci://r/web:1", says: "a tag does not"},
		"a tag where something must":  {line: "rootfs=oci://r/web:1", strict: true, class: fault.Policy, says: "a tag vouches for nothing"},
		"a tag and a root hash":       {line: "rootfs=oci://r/web:1 roothash=" + sha, strict: true},
		"a disk beside a digest":      {line: pinned + " rootfs=LABEL=x:/x", disk: true, class: fault.Policy, says: "says nothing of this image"},
		"a disk, by a root hash, too": {line: pinned + " rootfs=LABEL=x:/x roothash=" + sha, disk: true},
	} {
		t.Run(name, func(t *testing.T) {
			g, log := getter(t, test.line, nil)
			g.Config.Policy.RequireVouched = test.strict
			var images []ref.Location
			for _, l := range g.Config.Rootfs {
				if (l.Kind == ref.Device) == test.disk {
					images = append(images, l)
				}
			}
			_, err := g.Order(t.Context(), images)
			if fault.ClassOf(err) != test.class || err != nil && !strings.Contains(err.Error(), test.says) || err == nil && !strings.Contains(log.String(), test.says) {
				t.Errorf("%v\n%s", err, log)
			}
			if err == nil && test.says == "" && strings.Contains(log.String(), "nothing vouches") {
				t.Errorf("%s", log)
			}
		})
	}
}

// A file of logins that is none ends the boot, and is not quoted.
func TestLogins(t *testing.T) {
	for text, class := range map[string]fault.Class{
		"geheim": fault.Policy,
		`{"auths": {"r": {"username": "u", "password": "geheim"}}}`:       "",
		`{"auths": {"r": {"auth": "geheim"}}}`:                            fault.Policy,
		`{"auths": {"ftp://r": {"username": "u", "password": "geheim"}}}`: fault.Policy,
	} {
		g, _ := getter(t, "rootfs=oci://r/web@sha256:"+sha, map[string]string{"etc/netstage/registry.json": text})
		_, err := g.Order(t.Context(), g.Config.Rootfs)
		if fault.ClassOf(err) != class || err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
