<?xml version="1.0" encoding="UTF-8"?>
<!-- The head of a mail or page: who wants it, how to reach them, what was paid, what came with it, and the numbers to ask by;
     rows of label and text, once for all outputs. What the form does not have has no row.
     The applicant is the first group with a name that the field table calls so ("applicant = true"), else the first one
     whose id begins with "antragstell" or "anzeigend", else the first one that has an address, a telephone number or an
     e-mail address, too. What that group lacks (address, telephone, e-mail) comes from the next one that is called so. What
     a field means is known by its id (name, familienname, vorname, firma, strasse, plz, telefon, email …). -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:variable name="gross" select="'ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÜ'"/>
  <xsl:variable name="klein" select="'abcdefghijklmnopqrstuvwxyzäöü'"/>
  <xsl:variable name="ids-name" select="'|name|familienname|nachname|zuname|'"/>
  <xsl:variable name="ids-vorname" select="'|vorname|vornamen|'"/>
  <xsl:variable name="ids-firma"
                select="'|firma|firmenname|organisation|unternehmen|verein|einrichtung|institution|geschaeftsbezeichnung|'"/>
  <xsl:variable name="ids-strasse" select="'|strasse|straße|'"/>
  <xsl:variable name="ids-hausnummer" select="'|hausnummer|hausnr|'"/>
  <xsl:variable name="ids-zusatz" select="'|adresszusatz|anschriftzusatz|adressezusatz|hausnummerzusatz|ortsteil|'"/>
  <xsl:variable name="ids-plz" select="'|plz|postleitzahl|'"/>
  <xsl:variable name="ids-ort" select="'|ort|wohnort|'"/>
  <xsl:variable name="ids-staat" select="'|staat|land|'"/>
  <xsl:variable name="ids-anschrift" select="'|anschrift|adresse|'"/>
  <xsl:variable name="ids-telefon"
                select="'|telefon|telefonnummer|tel|rufnummer|festnetz|mobil|mobiltelefon|mobilnummer|handy|handynummer|'"/>
  <xsl:variable name="ids-email" select="'|email|e-mail|emailadresse|e-mail-adresse|mail|mailadresse|'"/>
  <xsl:variable name="ids-status" select="'|status|zahlstatus|zahlungsstatus|bezahlstatus|zahlungsstand|'"/>
  <xsl:variable name="ids-konto" select="'|kontotyp|kontoart|servicekontotyp|servicekontocontexttype|'"/>
  <xsl:variable name="ids-vertrauen" select="'|vertrauensniveau|vertrauensstufe|trustlevel|'"/>

  <xsl:variable name="ausgefuellt" select="/e:envelope/e:fields/*/instance[*[normalize-space(@e:text)]]"/>
  <xsl:variable name="mit-namen"
                select="$ausgefuellt[*[normalize-space(@e:text)][contains(concat($ids-name, $ids-vorname, $ids-firma),
                                       concat('|', translate(local-name(), $gross, $klein), '|'))]]"/>
  <xsl:variable name="bezeichnet" select="$mit-namen[../@e:applicant = 'true']"/>
  <xsl:variable name="benannt"
                select="$mit-namen[starts-with(translate(local-name(..), $gross, $klein), 'antragstell')
                                   or starts-with(translate(local-name(..), $gross, $klein), 'anzeigend')]"/>
  <xsl:variable name="erkannt"
                select="$mit-namen[*[normalize-space(@e:text)][contains(concat($ids-strasse, $ids-plz, $ids-telefon,
                                     $ids-email), concat('|', translate(local-name(), $gross, $klein), '|'))]]"/>
  <xsl:variable name="antragsteller"
                select="$bezeichnet[1] | $benannt[not($bezeichnet)][1] | $erkannt[not($bezeichnet or $benannt)][1]"/>
  <xsl:variable name="auskunft" select="$ausgefuellt[../@e:applicant = 'true']/*[normalize-space(@e:text)]"/>
  <xsl:variable name="eigen" select="$antragsteller/*[normalize-space(@e:text)]"/>
  <xsl:variable name="zahlung"
                select="$ausgefuellt[contains(translate(local-name(..), $gross, $klein), 'zahlung')
                                     or contains(translate(local-name(..), $gross, $klein), 'payment')][1]"/>
  <xsl:variable name="konto" select="/e:envelope/e:metadata/e:account"/>

  <xsl:template name="kopf">
    <xsl:call-template name="kopf-antragsteller"/>
    <xsl:call-template name="kopf-konto"/>
    <xsl:call-template name="kopf-zahlung"/>
    <xsl:call-template name="kopf-eingang"/>
    <xsl:call-template name="kopf-anlagen"/>
  </xsl:template>

  <xsl:template name="kopf-antragsteller">
    <xsl:call-template name="kopfzeile">
      <xsl:with-param name="label">
        <xsl:choose>
          <xsl:when test="$antragsteller/../instance[2]">Antragstellerin / Antragsteller</xsl:when>
          <xsl:otherwise><xsl:value-of select="$antragsteller/../@e:title"/></xsl:otherwise>
        </xsl:choose>
      </xsl:with-param>
      <xsl:with-param name="text"><xsl:call-template name="antragsteller-name"/></xsl:with-param>
    </xsl:call-template>
    <xsl:call-template name="kopfzeile">
      <xsl:with-param name="label">Anschrift</xsl:with-param>
      <xsl:with-param name="text"><xsl:call-template name="antragsteller-anschrift"/></xsl:with-param>
    </xsl:call-template>
    <xsl:variable name="telefon" select="$eigen[contains($ids-telefon,
                                           concat('|', translate(local-name(), $gross, $klein), '|'))]"/>
    <xsl:variable name="email" select="$eigen[contains($ids-email,
                                         concat('|', translate(local-name(), $gross, $klein), '|'))]"/>
    <xsl:for-each select="$telefon | $auskunft[not($telefon)][contains($ids-telefon,
                            concat('|', translate(local-name(), $gross, $klein), '|'))][1]">
      <xsl:call-template name="kopfzeile">
        <xsl:with-param name="label">Telefon</xsl:with-param>
        <xsl:with-param name="text" select="@e:text"/>
        <xsl:with-param name="ziel"><xsl:call-template name="ziel"/></xsl:with-param>
      </xsl:call-template>
    </xsl:for-each>
    <xsl:for-each select="$email | $auskunft[not($email)][contains($ids-email,
                            concat('|', translate(local-name(), $gross, $klein), '|'))][1]">
      <xsl:call-template name="kopfzeile">
        <xsl:with-param name="label">E-Mail</xsl:with-param>
        <xsl:with-param name="text" select="@e:text"/>
        <xsl:with-param name="ziel"><xsl:call-template name="ziel"/></xsl:with-param>
      </xsl:call-template>
    </xsl:for-each>
  </xsl:template>

  <!-- "Bäckerei Größe & Söhne, Frau Änne Größe-Öztürk" -->
  <xsl:template name="antragsteller-name">
    <xsl:variable name="firma" select="$antragsteller/*[normalize-space(@e:text)][contains($ids-firma,
                                         concat('|', translate(local-name(), $gross, $klein), '|'))][1]/@e:text"/>
    <xsl:variable name="anrede" select="$antragsteller/anrede/@e:text[. = 'Frau' or . = 'Herr']"/>
    <xsl:variable name="person">
      <xsl:for-each select="$antragsteller/*[contains($ids-vorname,
                              concat('|', translate(local-name(), $gross, $klein), '|'))][1]">
        <xsl:value-of select="concat(@e:text, ' ')"/>
      </xsl:for-each>
      <xsl:for-each select="$antragsteller/*[contains($ids-name,
                              concat('|', translate(local-name(), $gross, $klein), '|'))][1]">
        <xsl:value-of select="@e:text"/>
      </xsl:for-each>
    </xsl:variable>
    <xsl:value-of select="$firma"/>
    <xsl:if test="$firma and normalize-space($person)">, </xsl:if>
    <xsl:if test="normalize-space($person)">
      <xsl:if test="$anrede"><xsl:value-of select="concat($anrede, ' ')"/></xsl:if>
      <xsl:value-of select="$person"/>
    </xsl:if>
  </xsl:template>

  <!-- "Große Gasse 3 a, 00000 Musterstadt" -->
  <xsl:template name="antragsteller-anschrift">
    <xsl:variable name="orte" select="concat($ids-strasse, $ids-plz, $ids-anschrift)"/>
    <xsl:variable name="wohnt" select="$eigen[contains($orte,
                                         concat('|', translate(local-name(), $gross, $klein), '|'))]"/>
    <xsl:variable name="anderswo" select="$auskunft[not($wohnt)][contains($orte,
                                            concat('|', translate(local-name(), $gross, $klein), '|'))][1]"/>
    <xsl:variable name="felder" select="$eigen[not($anderswo)] | $anderswo/../*[normalize-space(@e:text)]"/>
    <xsl:variable name="strasse" select="$felder[contains($ids-strasse,
                                           concat('|', translate(local-name(), $gross, $klein), '|'))][1]/@e:text"/>
    <xsl:variable name="hausnummer" select="$felder[contains($ids-hausnummer,
                                              concat('|', translate(local-name(), $gross, $klein), '|'))][1]/@e:text"/>
    <xsl:variable name="zusatz" select="$felder[contains($ids-zusatz,
                                          concat('|', translate(local-name(), $gross, $klein), '|'))][1]/@e:text"/>
    <xsl:variable name="plz" select="$felder[contains($ids-plz,
                                       concat('|', translate(local-name(), $gross, $klein), '|'))][1]/@e:text"/>
    <xsl:variable name="ort" select="$felder[contains($ids-ort,
                                       concat('|', translate(local-name(), $gross, $klein), '|'))][1]/@e:text"/>
    <xsl:variable name="staat" select="$felder[contains($ids-staat,
                                         concat('|', translate(local-name(), $gross, $klein), '|'))][1]/@e:text"/>
    <xsl:variable name="anschrift" select="$felder[contains($ids-anschrift,
                                             concat('|', translate(local-name(), $gross, $klein), '|'))][1]/@e:text"/>
    <xsl:variable name="zeile-1" select="normalize-space(concat($strasse, ' ', $hausnummer))"/>
    <xsl:variable name="zeile-2" select="normalize-space(concat($plz, ' ', $ort))"/>
    <xsl:variable name="teile">
      <xsl:if test="$zeile-1">, <xsl:value-of select="$zeile-1"/></xsl:if>
      <xsl:if test="$zusatz">, <xsl:value-of select="$zusatz"/></xsl:if>
      <xsl:if test="$zeile-2">, <xsl:value-of select="$zeile-2"/></xsl:if>
      <xsl:if test="not($zeile-1 or $zeile-2) and $anschrift">, <xsl:value-of select="$anschrift"/></xsl:if>
      <xsl:if test="$staat">, <xsl:value-of select="$staat"/></xsl:if>
    </xsl:variable>
    <xsl:value-of select="substring($teile, 3)"/>
  </xsl:template>

  <!-- What the envelope says of the account, else what the form says by convention. No signature was checked. -->
  <xsl:template name="kopf-konto">
    <xsl:variable name="feld-konto" select="$ausgefuellt/*[contains($ids-konto,
                                              concat('|', translate(local-name(), $gross, $klein), '|'))][1]/@e:text"/>
    <xsl:variable name="feld-vertrauen" select="$ausgefuellt/*[contains($ids-vertrauen,
                                                  concat('|', translate(local-name(), $gross, $klein), '|'))][1]/@e:text"/>
    <xsl:call-template name="kopfzeile">
      <xsl:with-param name="label">Konto</xsl:with-param>
      <xsl:with-param name="text">
        <xsl:call-template name="kontoart">
          <xsl:with-param name="code" select="($konto/@type | $feld-konto[not($konto/@type)])[1]"/>
        </xsl:call-template>
      </xsl:with-param>
    </xsl:call-template>
    <xsl:call-template name="kopfzeile">
      <xsl:with-param name="label">Vertrauensniveau</xsl:with-param>
      <xsl:with-param name="text">
        <xsl:choose>
          <xsl:when test="$feld-vertrauen"><xsl:value-of select="$feld-vertrauen[1]"/></xsl:when>
          <xsl:when test="$konto/@identified = 'true'">hoch (mit Online-Ausweis angemeldet)</xsl:when>
          <xsl:when test="$konto/@identified = 'false'">nicht mit Online-Ausweis angemeldet</xsl:when>
        </xsl:choose>
      </xsl:with-param>
    </xsl:call-template>
    <xsl:if test="$konto/e:verified">
      <xsl:call-template name="kopfzeile">
        <xsl:with-param name="label">Vom Konto übernommen</xsl:with-param>
        <xsl:with-param name="text">
          <xsl:for-each select="$konto/e:verified">
            <xsl:if test="position() &gt; 1">, </xsl:if>
            <xsl:call-template name="uebernommen"/>
          </xsl:for-each>
          <xsl:text> (Signaturen nicht geprüft)</xsl:text>
        </xsl:with-param>
      </xsl:call-template>
    </xsl:if>
  </xsl:template>

  <!-- "Name: Basisregistrierung": e:verified names the field as group:instance:field. -->
  <xsl:template name="uebernommen">
    <xsl:variable name="gruppe" select="substring-before(@field, ':')"/>
    <xsl:variable name="rest" select="substring-after(@field, ':')"/>
    <xsl:variable name="feld" select="/e:envelope/e:fields/*[local-name() = $gruppe]/instance[@n = substring-before($rest, ':')]
                                      /*[local-name() = substring-after($rest, ':')]"/>
    <xsl:value-of select="concat($feld/@e:label, ': ')"/>
    <xsl:choose>
      <xsl:when test="contains(@level, 'HOCH') or contains(@level, 'HIGH')">hoch</xsl:when>
      <xsl:when test="contains(@level, 'SUBSTAN')">substanziell</xsl:when>
      <xsl:when test="contains(@level, 'BASIS') or contains(@level, 'NORMAL')">Basisregistrierung</xsl:when>
      <xsl:otherwise><xsl:value-of select="@level"/></xsl:otherwise>
    </xsl:choose>
  </xsl:template>

  <xsl:template name="kontoart">
    <xsl:param name="code"/>
    <xsl:choose>
      <xsl:when test="$code = 'BUND' or $code = 'BUND_ID' or $code = 'BUNDID'">BundID</xsl:when>
      <xsl:when test="$code = 'ELSTER' or $code = 'MUK'">Mein Unternehmenskonto (ELSTER)</xsl:when>
      <xsl:when test="$code = 'SERVICEPORTAL' or $code = 'SERVICEKONTO'">Servicekonto des Portals</xsl:when>
      <xsl:otherwise><xsl:value-of select="$code"/></xsl:otherwise>
    </xsl:choose>
  </xsl:template>

  <!-- "53,35 €, online (ePayBL), begonnen, noch nicht bestätigt": only where the form says how or whether was paid. -->
  <xsl:template name="kopf-zahlung">
    <xsl:variable name="status" select="$zahlung/*[normalize-space(@e:text)][contains($ids-status,
                                          concat('|', translate(local-name(), $gross, $klein), '|'))][1]"/>
    <xsl:variable name="angabe" select="$ausgefuellt/*[@e:payment][1]/@e:payment"/>
    <xsl:variable name="teile">
      <xsl:for-each select="$zahlung/*[normalize-space(@e:text)][@e:type = 'money'][1]">
        <xsl:value-of select="concat(', ', @e:text)"/>
      </xsl:for-each>
      <xsl:for-each select="($zahlung/zahlart | $zahlung/zahlungsart)[normalize-space(@e:text)][1]">
        <xsl:value-of select="concat(', ', @e:text)"/>
      </xsl:for-each>
      <xsl:choose>
        <xsl:when test="$status/@e:shown"><xsl:value-of select="concat(', ', $status/@e:shown)"/></xsl:when>
        <xsl:when test="$status"><xsl:value-of select="concat(', ', $status/@e:text)"/></xsl:when>
        <xsl:when test="$angabe"><xsl:value-of select="concat(', ', $angabe)"/></xsl:when>
      </xsl:choose>
      <xsl:for-each select="$zahlung/kassenzeichen[normalize-space(@e:text)]">
        <xsl:value-of select="concat(', Kassenzeichen ', @e:text)"/>
      </xsl:for-each>
    </xsl:variable>
    <xsl:if test="$status or $angabe or $zahlung/zahlart or $zahlung/zahlungsart">
      <xsl:call-template name="kopfzeile">
        <xsl:with-param name="label">Zahlung</xsl:with-param>
        <xsl:with-param name="text" select="substring($teile, 3)"/>
      </xsl:call-template>
    </xsl:if>
  </xsl:template>

  <xsl:template name="kopf-eingang">
    <xsl:call-template name="kopfzeile">
      <xsl:with-param name="label">Behörde</xsl:with-param>
      <xsl:with-param name="text">
        <xsl:value-of select="$behoerde"/>
        <xsl:if test="string($ags)"> (AGS <xsl:value-of select="$ags"/>)</xsl:if>
      </xsl:with-param>
    </xsl:call-template>
    <xsl:call-template name="kopfzeile">
      <xsl:with-param name="label">Eingegangen am</xsl:with-param>
      <xsl:with-param name="text">
        <xsl:call-template name="zeitpunkt"><xsl:with-param name="iso" select="$message/@received"/></xsl:call-template>
      </xsl:with-param>
    </xsl:call-template>
    <xsl:call-template name="kopfzeile">
      <xsl:with-param name="label">Nachrichtennummer</xsl:with-param>
      <xsl:with-param name="text" select="$short"/>
    </xsl:call-template>
    <xsl:call-template name="kopfzeile">
      <xsl:with-param name="label">Vorgangsnummer</xsl:with-param>
      <xsl:with-param name="text" select="$case"/>
    </xsl:call-template>
    <xsl:call-template name="kopfzeile">
      <xsl:with-param name="label">Formular</xsl:with-param>
      <xsl:with-param name="text">
        <xsl:if test="$form"><xsl:value-of select="concat($form/@name, ' ', $form/@version)"/></xsl:if>
      </xsl:with-param>
    </xsl:call-template>
  </xsl:template>

  <xsl:template name="kopf-anlagen">
    <xsl:variable name="verloren" select="sum(/e:envelope/e:attachments/e:lost/@count)"/>
    <xsl:call-template name="anlagen"/>
    <xsl:if test="$verloren">
      <xsl:call-template name="kopfzeile">
        <xsl:with-param name="label">Fehlende Anlagen</xsl:with-param>
        <xsl:with-param name="text"
                        select="concat($verloren, ' (hochgeladen, aber vom Portal nicht mitgeschickt)')"/>
      </xsl:call-template>
    </xsl:if>
  </xsl:template>

  <!-- One row of the head; this one is a line of text. An output of its own may make a link of "ziel". -->
  <xsl:template name="kopfzeile">
    <xsl:param name="label"/>
    <xsl:param name="text"/>
    <xsl:param name="ziel"/>
    <xsl:if test="normalize-space($text)">
      <xsl:value-of select="concat($label, ': ', normalize-space($text), '&#10;')"/>
    </xsl:if>
  </xsl:template>

  <!-- The files of the applicant's, as a row of the head and a line for each. -->
  <xsl:template name="anlagen">
    <xsl:if test="$uploads">
      <xsl:text>Anlagen: </xsl:text><xsl:call-template name="anzahl"/><xsl:text>&#10;</xsl:text>
      <xsl:for-each select="$uploads">
        <xsl:text>- </xsl:text><xsl:call-template name="anlage"/><xsl:text>&#10;</xsl:text>
      </xsl:for-each>
    </xsl:if>
  </xsl:template>

  <xsl:template name="anzahl">
    <xsl:value-of select="concat(count($uploads), ' Datei')"/><xsl:if test="count($uploads) &gt; 1">en</xsl:if>
  </xsl:template>

  <!-- Where a value leads: mailto: or tel:, or nowhere. Only what can be nothing else becomes a link, because an applicant
       wrote it: no second address, no subject, no line break. -->
  <xsl:template name="ziel">
    <xsl:variable name="text" select="normalize-space(@e:text)"/>
    <xsl:variable name="id" select="concat('|', translate(local-name(), $gross, $klein), '|')"/>
    <xsl:variable name="ziffern" select="translate($text, ' -/().', '')"/>
    <xsl:choose>
      <xsl:when test="contains($text, '@')">
        <xsl:if test="string-length(substring-before($text, '@')) and contains(substring-after($text, '@'), '.')
                      and not(contains(substring-after($text, '@'), '@'))
                      and translate($text, concat($gross, $klein, '0123456789.-_+@ß'), '') = ''">
          <xsl:value-of select="concat('mailto:', $text)"/>
        </xsl:if>
      </xsl:when>
      <xsl:when test="contains($ids-telefon, $id) and string-length($ziffern) &gt; 3
                      and (starts-with($ziffern, '+') or starts-with($ziffern, '0')) and not(starts-with($text, '-'))
                      and translate(substring($ziffern, 2), '0123456789', '') = ''">
        <xsl:value-of select="concat('tel:', $ziffern)"/>
      </xsl:when>
    </xsl:choose>
  </xsl:template>
</xsl:stylesheet>
