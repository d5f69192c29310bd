/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* MESSAGE_ID= of events in the journal: what kind of event it is, for ever, whatever its text says.
 */

/* Of work. */
#define MESSAGE_COPROCESS_ENDED "519f0a7531904c30aab116e05f255938"
#define MESSAGE_COPROCESS_FAILING "fa6238dc61d84114b6e7e77f36be0b25"

/* Of the log itself. */
#define MESSAGE_LINES_LEFT_OUT "d40b0dd0e92c41418f788abd972f4179"
#define MESSAGE_LINES_LOST "38e7989a004743629b49e54d6cc4c5a2"
