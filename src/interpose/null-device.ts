/**
 * The number of /dev/null. Nodes get it rather than their own: an open for reading only is not trapped, and with the
 * node's own number it would reach whatever driver of the real host has that number, or none. So it opens natively, and
 * the first VFIO request on it swaps the real thing in (see StandIns). What a path stat() then shows is a character
 * device with the wrong number; fstat() of a descriptor is answered with the right one.
 */
export const NULL_DEVICE = (1 << 8) | 3;
