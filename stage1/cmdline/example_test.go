package cmdline_test

import (
	"fmt"

	"netstage/stage1/cmdline"
)

// A quote keeps white space and "=" in a value, as it does for the kernel.
func ExampleParse() {
	params := cmdline.Parse(`quiet rootfs=http://a/image rootfs=http://b/image "note=two words" console=ttyS0,115200`)
	fmt.Println(params.Has("quiet"), params.All("rootfs"))
	note, _ := params.Last("note")
	fmt.Println(note)
	// Output:
	// true [http://a/image http://b/image]
	// two words
}
