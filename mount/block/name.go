package block

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"netstage/stage1/fault"
)

// Name is how a device is asked for: LABEL=, UUID=, PARTLABEL=, PARTUUID=,
// /dev/disk/by-…, or a path below /dev.
type Name struct {
	tag   string // "LABEL", …; "PATH" for a path
	value string
	text  string // as written
}

// String is the name as it was written.
func (n Name) String() string { return n.text }

// byDir are the folders of /dev/disk that can be told without a udev, by-id as
// far as knownID goes.
var byDir = map[string]string{"by-label": "LABEL", "by-uuid": "UUID", "by-partlabel": "PARTLABEL", "by-partuuid": "PARTUUID"}

// ParseName reads a device's name as fstab(5) has it.
func ParseName(text string) (Name, error) {
	n := Name{text: text}
	tag, value, tagged := strings.Cut(text, "=")
	if tagged && !strings.HasPrefix(text, "/") {
		for _, known := range byDir {
			if strings.EqualFold(tag, known) {
				// Blanks as udev and systemd write them, or in quotes.
				n.tag, n.value = known, unescape(strings.Trim(value, `"'`))
			}
		}
		if n.value == "" {
			return n, fault.Errorf(fault.BadParameter, "device %q: want LABEL=, UUID=, PARTLABEL=, PARTUUID= or a path below /dev", text)
		}
		return n, nil
	}
	if dir, rest, ok := strings.Cut(strings.TrimPrefix(text, "/dev/disk/"), "/"); ok && strings.HasPrefix(text, "/dev/disk/") {
		if n.tag = byDir[dir]; dir == "by-id" && knownID(rest) {
			n.tag = "ID"
		} else if n.tag == "" {
			return n, fault.Errorf(fault.BadParameter, "device %s: the initrd has no udev to tell %s; name it by UUID=, LABEL= or PARTUUID=", text, path.Join(dir, rest))
		}
		if n.value = unescape(rest); n.value == "" { // which is the label of many
			return n, fault.Errorf(fault.BadParameter, "device %s: it names none", text)
		}
		return n, nil
	}
	if !strings.HasPrefix(text, "/dev/") || text == "/dev/" {
		return n, fault.Errorf(fault.BadParameter, "device %q: want LABEL=, UUID=, PARTLABEL=, PARTUUID= or a path below /dev", text)
	}
	n.tag, n.value = "PATH", text
	return n, nil
}

// unescape undoes what udev does to a label to make a file name of it.
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && len(s) >= i+4 {
			if b, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				out.WriteByte(byte(b))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// Means tells whether a device is the one that n means.
func (n Name) Means(d Device) bool {
	switch n.tag {
	case "PATH":
		return d.Path == n.value
	case "LABEL":
		return n.value == d.Label
	case "UUID": // a FAT's is in capitals
		return strings.EqualFold(n.value, d.Content.UUID)
	case "ID":
		return slices.Contains(d.ids, n.value)
	case "PARTLABEL":
		return n.value == d.Partition.Label
	case "PARTUUID":
		return strings.EqualFold(n.value, d.Partition.UUID)
	}
	return false
}
