<?xml version="1.0" encoding="UTF-8"?>
<!-- The application as an accessible page: one heading and one table of label and value for each group. Empty fields are left
     out. The looks ("stil") are the importing stylesheet's.
     Mail programs decide what is allowed here. Outlook renders by Word: tables with attributes, real line breaks, no
     white-space. A telephone is 320 pixels wide: nothing has a width of its own, every word may be broken, and label and
     value stand below each other. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="eingang.xsl"/>
  <xsl:output method="html" encoding="UTF-8" indent="yes" doctype-system="about:legacy-compat"/>

  <!-- No-break spaces for the beginning of a line that is indented. -->
  <xsl:variable name="einzug" select="'&#160;&#160;&#160;&#160;&#160;&#160;&#160;&#160;&#160;&#160;&#160;&#160;'"/>

  <xsl:template match="/">
    <html lang="de">
      <head>
        <meta name="viewport" content="width=device-width, initial-scale=1"/>
        <title><xsl:value-of select="concat($subject, ' – ', $short)"/></title>
        <style><xsl:call-template name="stil"/></style>
      </head>
      <body>
        <xsl:call-template name="briefkopf"/>
        <main>
          <h1><xsl:value-of select="$subject"/></h1>
          <xsl:if test="$message/@test = 'true'">
            <p class="test"><strong>Testnachricht</strong> – bitte nicht bearbeiten.</p>
          </xsl:if>
          <xsl:call-template name="vortext"/>
          <table class="angaben kopf" aria-label="Angaben zum Eingang" width="100%" cellpadding="0" cellspacing="0" border="0">
            <tbody><xsl:call-template name="kopf"/></tbody>
          </table>
          <xsl:apply-templates select="/e:envelope/e:fields/*/instance[*[normalize-space(@e:text)]]" mode="gruppe"/>
          <xsl:apply-templates select="/e:envelope/e:payload" mode="xoev"/>
        </main>
        <footer>
          <xsl:call-template name="fusszeile"/>
          <p>Automatisch übermittelt durch die Datendrehscheibe. Nachrichtennummer: <xsl:value-of select="$message-id"/></p>
        </footer>
      </body>
    </html>
  </xsl:template>

  <xsl:template name="kopfzeile">
    <xsl:param name="label"/>
    <xsl:param name="text"/>
    <xsl:param name="ziel"/>
    <xsl:if test="normalize-space($text)">
      <tr>
        <th scope="row" width="35%" align="left" valign="top"><xsl:value-of select="$label"/></th>
        <td align="left" valign="top">
          <xsl:call-template name="verweis">
            <xsl:with-param name="text" select="normalize-space($text)"/>
            <xsl:with-param name="ziel" select="$ziel"/>
          </xsl:call-template>
        </td>
      </tr>
    </xsl:if>
  </xsl:template>

  <xsl:template name="anlagen">
    <xsl:if test="$uploads">
      <tr>
        <xsl:if test="count($uploads) &gt; 10"><xsl:attribute name="class">lang</xsl:attribute></xsl:if>
        <th scope="row" width="35%" align="left" valign="top">Anlagen</th>
        <td align="left" valign="top">
          <xsl:call-template name="anzahl"/><xsl:text>: </xsl:text>
          <ul>
            <xsl:for-each select="$uploads"><li><xsl:call-template name="anlage"/></li></xsl:for-each>
          </ul>
        </td>
      </tr>
    </xsl:if>
  </xsl:template>

  <xsl:template match="instance" mode="gruppe">
    <xsl:variable name="titel"><xsl:call-template name="titel"/></xsl:variable>
    <section>
      <h2><xsl:value-of select="$titel"/></h2>
      <table class="angaben" aria-label="{$titel}" width="100%" cellpadding="0" cellspacing="0" border="0">
        <tbody><xsl:apply-templates select="*[normalize-space(@e:text)]" mode="feld"/></tbody>
      </table>
    </section>
  </xsl:template>

  <!-- A row of the class "lang" may be higher than a page and is divided; any other one stays whole. -->
  <xsl:template match="*" mode="feld">
    <xsl:variable name="text" select="string((@e:shown | @e:text[not(../@e:shown)])[1])"/>
    <tr>
      <xsl:if test="string-length($text) &gt; 1000 or count(value | attachment) &gt; 20
                    or string-length(translate($text, translate($text, '&#10;&#13;', ''), '')) &gt; 20">
        <xsl:attribute name="class">lang</xsl:attribute>
      </xsl:if>
      <th scope="row" width="35%" align="left" valign="top"><xsl:value-of select="@e:label"/></th>
      <td align="left" valign="top"><xsl:apply-templates select="." mode="wert"/></td>
    </tr>
  </xsl:template>

  <xsl:template match="*" mode="wert">
    <xsl:variable name="ziel"><xsl:call-template name="ziel"/></xsl:variable>
    <xsl:choose>
      <xsl:when test="string($ziel)">
        <xsl:call-template name="verweis">
          <xsl:with-param name="text" select="normalize-space(@e:text)"/>
          <xsl:with-param name="ziel" select="$ziel"/>
        </xsl:call-template>
      </xsl:when>
      <xsl:otherwise>
        <xsl:call-template name="zeilen">
          <xsl:with-param name="text" select="string((@e:shown | @e:text[not(../@e:shown)])[1])"/>
        </xsl:call-template>
      </xsl:otherwise>
    </xsl:choose>
  </xsl:template>

  <xsl:template match="*[count(value) + count(attachment) &gt; 1]" mode="wert">
    <ul>
      <xsl:for-each select="value | attachment"><li><xsl:value-of select="@e:text"/></li></xsl:for-each>
    </ul>
  </xsl:template>

  <xsl:template name="verweis">
    <xsl:param name="text"/>
    <xsl:param name="ziel"/>
    <xsl:choose>
      <xsl:when test="string($ziel)"><a href="{$ziel}"><xsl:value-of select="$text"/></a></xsl:when>
      <xsl:otherwise><xsl:value-of select="$text"/></xsl:otherwise>
    </xsl:choose>
  </xsl:template>

  <xsl:template name="umbruch"><br/></xsl:template>

  <!-- Blanks at its beginning stay, and so does the width of a tab: an applicant may have typed a list. -->
  <xsl:template name="zeile">
    <xsl:param name="text"/>
    <xsl:variable name="mit-tab" select="translate($text, '&#9;', '&#8194;')"/>
    <xsl:variable name="wort" select="normalize-space($mit-tab)"/>
    <xsl:if test="$wort">
      <xsl:value-of select="concat(substring($einzug, 1, string-length(substring-before($mit-tab, substring($wort, 1, 1)))),
                                   $wort)"/>
    </xsl:if>
  </xsl:template>

  <!-- A XÖV document has no field table: its leaves, named by the standard's own element names. -->
  <xsl:template match="e:payload" mode="xoev">
    <section>
      <h2>Inhalt der Nachricht <xsl:value-of select="local-name(*)"/></h2>
      <table class="angaben" aria-label="Inhalt der Nachricht" width="100%" cellpadding="0" cellspacing="0" border="0">
        <tbody>
          <xsl:for-each select=".//*[not(*)][normalize-space()]">
            <tr class="lang">
              <th scope="row" width="35%" align="left" valign="top">
                <xsl:value-of select="concat(local-name(..), ' › ', local-name())"/>
              </th>
              <td align="left" valign="top">
                <xsl:call-template name="zeilen"><xsl:with-param name="text" select="string(.)"/></xsl:call-template>
              </td>
            </tr>
          </xsl:for-each>
        </tbody>
      </table>
    </section>
  </xsl:template>

  <xsl:template name="stil">
    <xsl:call-template name="grundstil"/>
    <xsl:call-template name="telefonstil"/>
  </xsl:template>

  <!-- Colours keep a contrast of at least 7:1 (WCAG 2.1, 1.4.6). -->
  <xsl:template name="grundstil">
    <xsl:variable name="farbe"><xsl:call-template name="farbe"/></xsl:variable>
    <xsl:text>
      body { font-family: "DejaVu Sans", Verdana, Arial, sans-serif; font-size: 11pt; line-height: 1.4; color: #1a1a1a;
             max-width: 62em; word-wrap: break-word; overflow-wrap: anywhere; }
      h1 { font-size: 1.5em; margin: 0 0 0.6em; line-height: 1.2; }
      h2 { font-size: 1.15em; margin: 1.4em 0 0.4em; border-bottom: 2px solid </xsl:text>
    <xsl:value-of select="concat($farbe, '; color: ', $farbe)"/>
    <xsl:text>; }
      table { border-collapse: collapse; width: 100%; max-width: 100%; table-layout: fixed; }
      th, td { text-align: left; vertical-align: top; padding: 3px 8px 3px 0; border-bottom: 1px solid #cfcfcf; }
      th { font-weight: normal; color: #404040; }
      .angaben th { width: 35%; padding-right: 20px; }
      ul { margin: 0; padding: 0 0 0 1.2em; }
      li { margin: 0; padding: 0; }
      img { max-width: 100%; height: auto; }
      a { color: #003f75; }
      .kopf { background: #f3f6f9; }
      .kopf th, .kopf td { border-bottom: 0; padding-bottom: 2px; padding-left: 8px; }
      .test { border: 3px solid #8a0000; color: #8a0000; padding: 0.5em 0.8em; }
      footer { margin-top: 2em; font-size: 0.85em; color: #404040; }
    </xsl:text>
  </xsl:template>

  <xsl:template name="telefonstil">
    <xsl:text>
      @media (max-width: 480px) {
        .angaben, .angaben tbody, .angaben tr, .angaben th, .angaben td { display: block; width: auto; }
        .angaben th { border-bottom: 0; padding: 5px 0 0; font-size: 0.85em; }
        .angaben td { padding-right: 0; }
        .kopf th, .kopf td { padding-left: 8px; padding-right: 8px; }
        h1 { font-size: 1.2em; }
      }
    </xsl:text>
  </xsl:template>
</xsl:stylesheet>
