/*
 * Page runs in GLib's balanced tree under a comparison by which runs that overlap are equal, as QEMU keeps IOVAs (util/iova-tree.c).
 */
#include <glib.h>
#include <stdint.h>

struct run {
	uint64_t start, pages;
	uint32_t value;
};

static GTree *tree;

#include "interval-operations.h"

static gint compare(gconstpointer left, gconstpointer right, gpointer data)
{
	const struct run *a = left, *b = right;
	(void)data;
	return a->start >= b->start + b->pages ? 1 : b->start >= a->start + a->pages ? -1 : 0;
}

static struct run *first_from(uint64_t page)
{
	struct run one = { .start = page, .pages = 1 };
	GTreeNode *node = tree ? g_tree_lower_bound(tree, &one) : NULL;
	return node ? g_tree_node_value(node) : NULL;
}

static void insert(struct run *run)
{
	if (!tree)
		tree = g_tree_new_full(compare, NULL, NULL, NULL);
	g_tree_insert(tree, run, run);
}

static void take_out(struct run *run) { g_tree_remove(tree, run); }
