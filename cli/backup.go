package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"pintle.dev/api"
	"pintle.dev/cluster"
)

func backupCommand() *cobra.Command {
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write all of a running cluster to a file",
		Long: `Backup writes every object, at one revision, to one file, while the cluster goes on. The file is verified as it is
written and takes its name only when it is complete. The keys of the cluster's authority are in it, so that kubeconfigs
and tokens go on working after a restore: keep it as safe as the data directory (its mode is 0600).`,
		Example: "  pintle backup --kubeconfig pintle-data/kubeconfig monday.backup",
		Args:    oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			rev, objects, err := backup(cmd.Context(), kubeconfig, args[0])
			if err != nil {
				return fmt.Errorf("back up to %s: %w", args[0], err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d objects at revision %d written to %s\n", objects, rev, args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "pintle-data/kubeconfig", "kubeconfig of an administrator of the cluster")
	return cmd
}

func backup(ctx context.Context, kubeconfig, file string) (rev api.Revision, objects int, err error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return 0, 0, err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return 0, 0, err
	}
	from, err := url.JoinPath(config.Host, cluster.BackupPath)
	if err != nil {
		return 0, 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return 0, 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		message, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		if err != nil {
			return 0, 0, err
		}
		return 0, 0, fmt.Errorf("the server says %s: %s", response.Status, strings.TrimSpace(string(message)))
	}
	out, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".partial-*")
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	rev, objects, err = cluster.VerifyBackup(io.TeeReader(response.Body, out))
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return 0, 0, err
	}
	return rev, objects, os.Rename(out.Name(), file)
}

func restoreCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a new data directory of a backup",
		Long: `Restore makes a data directory of what "pintle backup" wrote; then "pintle up --data DIR" goes on from there. All of the
file is verified before the store is there. Revisions are moved ahead by 2^32, so that clients which have seen later
ones than the backup's list again instead of missing changes.`,
		Example: "  pintle restore monday.backup --data restored",
		Args:    oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			if err := os.MkdirAll(data, 0o700); err != nil {
				return err
			}
			rev, authority, err := cluster.Restore(cmd.Context(), f, data)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if !authority {
				fmt.Fprintln(cmd.OutOrStdout(), "the backup holds no certificates: kubeconfigs and tokens issued so far will not work")
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is at revision %d; go on with: pintle up --data %s\n", data, rev, data)
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "pintle-data", "data directory to make")
	return cmd
}
