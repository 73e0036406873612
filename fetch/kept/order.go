package kept

// OrderFile is where the agent says what a unit of stage 2 is to keep once the
// system is up.
const OrderFile = "/run/netstage/keep.json"

// Order says which image is to be kept, and where.
type Order struct {
	Disk   string `json:"disk"` // LABEL=…, UUID=… or /dev/…
	Image  Record `json:"image"`
	Salt   string `json:"salt,omitempty"` // of the verity tree, in hex
	Source string `json:"source"`         // URL of the image, without credentials
}
