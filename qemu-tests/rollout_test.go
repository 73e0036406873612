package qemutests

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"netstage/cmd/netstage/vm"
	"netstage/fetch/oci/peer"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
	"netstage/qemu-tests/trunk"
)

// A fleet's way: netstage push, netstage serve --from, iPXE. Machines boot what
// the tag means when they start, after a roll-out and after the way back, and
// the image comes from the registry itself.
func TestQEMURollOut(t *testing.T) {
	t.Parallel()
	r, lan := peer.Start(t, peer.Options{}), nsmachine.NewLAN(t)
	to, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	fetched := map[string]int{} // digests, and who asked for them
	proxy := httputil.NewSingleHostReverseProxy(to)
	host := strings.Trim(strings.TrimPrefix(lan.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		if _, digest, blob := strings.Cut(q.URL.Path, "/blobs/sha256:"); blob && q.Method == http.MethodGet {
			who := "machine"
			if strings.HasPrefix(q.RemoteAddr, nsmachine.Gateway+":") {
				who = "server"
			}
			fetched[digest+" "+who]++
		}
		mu.Unlock()
		proxy.ServeHTTP(w, q)
	})), "http://"), "/")
	ref := "oci+http://" + host + "/team/web:"

	c := guestPacked(t, xzModules)
	netstage := build(t, "netstage/cmd/netstage")
	images, dirs := map[string]string{}, t.TempDir() // digests, folders
	pack := func(version string) {
		t.Helper()
		dir := filepath.Join(dirs, version)
		install(t, c.Kernel, dir+"/bzImage")
		install(t, c.Initrds[0], dir+"/initrd")
		toplevel := classic()
		toplevel["nixos-version"] = version
		image := vouchOnce(t, toplevel)
		images[version] = image.sha256
		for _, suffix := range []string{"", ".sha256", ".verity", ".roothash"} {
			install(t, image.path+suffix, dir+"/nix-store.squashfs"+suffix)
		}
		writeFile(t, dir+"/cmdline", "console=ttyS0 panic=-1 init="+system.Init+"\n")
	}
	push := func(version string) (pinned, told string) {
		t.Helper()
		cmd := lan.Command(netstage, "push", filepath.Join(dirs, version), ref+version, "--tag", "stable")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("netstage push: %v\n%s", err, &stderr)
		}
		return regexp.MustCompile(`@sha256:[0-9a-f]{64}`).FindString(string(out)), stderr.String()
	}
	pack("25.05")
	pack("25.11")
	first, _ := push("25.05")

	log, access := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "access")
	errs, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	out, err := os.Create(access)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := lan.Command(netstage, "serve", "--from", ref+"stable", "--cache", t.TempDir(), "--poll", "1s", "--listen", nsmachine.Gateway+":0")
	cmd.Stdout, cmd.Stderr = out, errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	logged := func(pattern string) string {
		t.Helper()
		for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
			if found := regexp.MustCompile(pattern).FindString(string(read(t, log))); found != "" {
				return found
			}
		}
		t.Fatalf("netstage serve does not tell %q:\n%s", pattern, read(t, log))
		return ""
	}
	lan.DHCP(t, "--dhcp-boot="+logged(`http://[0-9.:]+/boot\.ipxe`))
	var s trunk.Trunk
	s.Start(t, lan.Tap(t), 2)
	boots := func(n int, mac, version, pinned string) {
		t.Helper()
		start(t, vm.Config{Memory: 1024, BootURL: "by DHCP", NICs: []vm.NIC{{MAC: mac, Backend: s.Backend(n)}}}).end(vm.PowerOff,
			"iPXE", "image: oci+http://"+host+"/team/web"+pinned+" is "+pinned[1:], "verified", "stage 2: version "+version, "stage 2 done")
		mu.Lock()
		defer mu.Unlock()
		if fetched[images[version]+" machine"] == 0 || fetched[images[version]+" server"] > 0 {
			t.Errorf("who fetched what: %v", fetched)
		}
	}

	second, told := push("25.11")
	if strings.Count(told, "there already") != 3 {
		t.Errorf("of kernel, initrd and cmdline some were sent again:\n%s", told)
	}
	logged("tag stable is " + second[1:] + " now, before it was " + strings.TrimPrefix(first, "@sha256:"))
	boots(0, "52:54:00:00:00:01", "25.11", second)
	if again, _ := push("25.05"); again != first {
		t.Errorf("pushed again it is %s, before it was %s", again, first)
	}
	logged("tag stable is " + first[1:] + " now, before it was " + strings.TrimPrefix(second, "@sha256:"))
	boots(1, "52:54:00:00:00:02", "25.05", first)
	if text := string(read(t, access)); !strings.Contains(text, "/bzImage") || strings.Contains(text, "squashfs") {
		t.Errorf("netstage serve had to send\n%s", text)
	}
}
