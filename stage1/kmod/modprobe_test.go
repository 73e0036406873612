package kmod

import (
	"strings"
	"testing"
)

func TestModprobeShowDepends(t *testing.T) {
	files := map[string]string{"etc/modprobe.d/x.conf": "options virtio_net csum=0\ninstall net_failover /bin/true\nblacklist crc32c_generic\n"}
	for name, text := range netFiles() {
		files["lib/modules/1.2/"+name] = text
	}
	files["lib/modules/1.2/modules.dep"] = netTree
	root := writeTree(t, files)
	for _, c := range []struct {
		args   string
		status int
		want   []string // of stdout and stderr together, in order
	}{
		{"-D virtio-net gso=1", 0, []string{"failover.ko", "install /bin/true", "virtio_net.ko csum=0 gso=1"}},
		{"--show-depends crypto-crc32c", 0, nil},
		{"-D -a ext4 tmpfs", 0, []string{"insmod", "ext4.ko", "after.ko", "builtin tmpfs"}},
		{"-qn -- nonsense", 1, nil},
		{"-n nonsense", 1, []string{"modprobe: no module nonsense"}},
		{"-Z x", 1, []string{"usage:", "unknown option -Z"}},
		{"-q", 1, []string{"usage:", "no module"}},
		{"--help", 0, []string{"usage:"}},
	} {
		var out strings.Builder
		args := append([]string{"-d", root, "-S", "1.2"}, strings.Fields(c.args)...)
		if got := ModprobeMain(args, &out, &out); got != c.status {
			t.Errorf("%s: status %d\n%s", c.args, got, &out)
		}
		rest := out.String()
		if len(c.want) == 0 && rest != "" {
			t.Errorf("%s: says %q", c.args, rest)
		}
		for _, w := range c.want {
			_, after, ok := strings.Cut(rest, w)
			if !ok {
				t.Errorf("%s: %q is missing or out of order in\n%s", c.args, w, &out)
			}
			rest = after
		}
	}
}

func TestRmmodWantsNames(t *testing.T) {
	var out, errs strings.Builder
	if RmmodMain(nil, &out, &errs) != 1 || !strings.Contains(errs.String(), "usage") || out.Len() > 0 {
		t.Errorf("%s%s", &out, &errs)
	}
	if RmmodMain([]string{"--help"}, &out, &errs) != 0 || !strings.Contains(out.String(), "usage") {
		t.Errorf("help: %s", &out)
	}
}
