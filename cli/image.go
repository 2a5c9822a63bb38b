package cli

import (
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"pintle.dev/node/containerd"
)

func imageCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "image", Short: "Bring images to this machine's node", Args: cobra.NoArgs,
		Example: "  pintle image import app.tar",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(imageImportCommand())
	return cmd
}

func imageImportCommand() *cobra.Command {
	var data, socket string
	cmd := &cobra.Command{
		Use:   "import FILE...",
		Short: "Import OCI or Docker image archives, as pods see them",
		Long: `Import brings image archives (OCI layouts in a tar file, or what "docker save" writes) into the containerd that this
machine's node uses. No registry is asked; pods whose imagePullPolicy is not Always find the images at once.`,
		Example: `  pintle image import app.tar
  docker save app:1 | pintle image import /dev/stdin`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if socket == "" {
				var err error
				if socket, err = nodeSocket(data, containerd.DefaultSocket); err != nil {
					return err
				}
			}
			for _, file := range args {
				names, err := containerd.Import(cmd.Context(), socket, file)
				if err != nil {
					return err
				}
				for _, n := range names {
					fmt.Fprintln(cmd.OutOrStdout(), "imported", n)
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "pintle-data", "data directory of the cluster whose node it is, or of the node")
	cmd.Flags().StringVar(&socket, "containerd", "", "containerd's socket (default: the one the node uses)")
	return cmd
}

// nodeSocket is the containerd the node uses: its own if that answers, where "pintle up" or "pintle node" keeps it, else
// the host's.
func nodeSocket(data, host string) (string, error) {
	own := containerd.OwnSocket(filepath.Join(data, "node", "containerd"))
	for _, socket := range []string{own, containerd.OwnSocket(filepath.Join(data, "containerd")), host} {
		if c, err := net.DialTimeout("unix", socket, time.Second); err == nil {
			c.Close()
			return socket, nil
		}
	}
	return "", fmt.Errorf("no containerd answers at %s or %s: start the node, or name its data directory with --data", own, host)
}
